"""A profile as clients send it (whole, or as a merge patch) and as they see it."""

import re
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import phonenumbers
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.text import NAME, TEXT
from shared.web.json_input import Input
from shared.web.times import Day

EARLIEST_BIRTH = date(1900, 1, 1)
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")


def _phone(value: str) -> str:
    """E.164, as phone networks write it: +4930123456."""
    try:
        number = phonenumbers.parse(value)
    except phonenumbers.NumberParseException:
        raise ValueError("must be an international number that begins with +") from None
    if not phonenumbers.is_valid_number(number):
        raise ValueError("is not a number that exists in its country")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _birth_date(value: date) -> date:
    if not EARLIEST_BIRTH <= value <= date.today():  # noqa: DTZ011 - a birth date has no time zone
        raise ValueError(f"must lie between {EARLIEST_BIRTH} and today")
    return value


def _locale(value: str) -> str:
    if not _LOCALE.fullmatch(value):
        raise ValueError("must be a language tag such as de or pt-BR (BCP 47)")
    return value


FullName = Annotated[str, Field(min_length=1, max_length=200), NAME]
Bio = Annotated[str, Field(max_length=2000), TEXT]
Phone = Annotated[str, Field(max_length=32), AfterValidator(_phone)]
BirthDate = Annotated[Day, AfterValidator(_birth_date)]
Locale = Annotated[str, Field(max_length=20), AfterValidator(_locale)]


class ProfileIn(Input):
    """A whole profile: what PUT leaves out besides the name is emptied."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"full_name": "Ann Lee", "bio": "Sails.", "phone": "+4930901820", "locale": "en"}}
    )

    full_name: FullName
    bio: Bio | None = None
    phone: Phone | None = None
    birth_date: BirthDate | None = None
    locale: Locale | None = None


class ProfilePatch(Input):
    """A JSON Merge Patch (RFC 7396): absent leaves a field, null empties it."""

    model_config = ConfigDict(json_schema_extra={"example": {"bio": "Sails and sings.", "phone": None}})

    full_name: FullName | None = None
    bio: Bio | None = None
    phone: Phone | None = None
    birth_date: BirthDate | None = None
    locale: Locale | None = None


class ProfileOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    username: str
    full_name: str | None
    bio: str | None
    phone: str | None
    birth_date: date | None
    locale: str | None
    updated_at: datetime
