"""A profile as clients send it (whole, or as a merge patch) and as they see it."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.text import NAME, TEXT
from shared.web.birth_dates import BirthDate
from shared.web.json_input import Input
from users_service.profiles.contact import language_tag, phone_number


def _null_is_false(value: Any) -> Any:
    return False if value is None else value


FullName = Annotated[str, Field(min_length=1, max_length=200), NAME]
Bio = Annotated[str, Field(max_length=2000), TEXT]
Phone = Annotated[str, Field(max_length=64), AfterValidator(phone_number)]
Locale = Annotated[str, Field(max_length=64), AfterValidator(language_tag)]
Newsletter = Annotated[
    bool, Field(strict=True, description="Whether the person wants newsletters."), BeforeValidator(_null_is_false)
]


class ProfileIn(Input):
    """A whole profile: what PUT leaves out besides the name is emptied."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"full_name": "Ann Lee", "bio": "Sails.", "phone": "+4930901820", "locale": "en"}}
    )

    full_name: FullName
    bio: Bio | None = None
    phone: Phone | None = None
    birth_date: BirthDate | None = Field(default=None, examples=["1990-02-28"])
    locale: Locale | None = None
    newsletter: Newsletter = False


class ProfilePatch(Input):
    """A JSON Merge Patch (RFC 7396): absent leaves a field, null empties it."""

    model_config = ConfigDict(json_schema_extra={"example": {"bio": "Sails and sings.", "phone": None}})

    full_name: FullName | None = None
    bio: Bio | None = None
    phone: Phone | None = None
    birth_date: BirthDate | None = Field(default=None, examples=["1990-02-28"])
    locale: Locale | None = None
    newsletter: Newsletter = False


class ProfileOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    username: str = Field(examples=["ann"])
    full_name: str | None = Field(examples=["Ann Lee"])
    bio: str | None = Field(examples=["Sails."])
    phone: str | None = Field(examples=["+4930901820"])
    birth_date: date | None = Field(examples=["1990-02-28"])
    locale: str | None = Field(examples=["en"])
    newsletter: bool
    updated_at: datetime
