"""The fields of an account as requests have them."""

from datetime import UTC, date, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from auth_service.accounts.spelling import NEW_PASSWORD, USERNAME
from shared.email_addresses import new_address
from shared.field_errors import FieldRule
from shared.web.times import Day

YOUNGEST, OLDEST = 13, 120
AGE: Final = FieldRule("age", "Must be the birth date of a person of {youngest} to {oldest} years.")


def _of_age(born: date) -> date:
    today = datetime.now(UTC).date()
    years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    if not YOUNGEST <= years <= OLDEST:
        raise AGE.broken(youngest=YOUNGEST, oldest=OLDEST)
    return born


Username = Annotated[
    str,
    Field(min_length=3, max_length=32, pattern=r"^[A-Za-z0-9_.\-]+$", description="Letters, digits, `_`, `.` and `-`."),
    USERNAME,
]
Email = Annotated[str, Field(max_length=254, json_schema_extra={"format": "email"}), AfterValidator(new_address)]
NewPassword = Annotated[
    str, Field(min_length=8, max_length=256, json_schema_extra={"format": "password"}), NEW_PASSWORD
]
ConfirmedPassword = Annotated[str, Field(max_length=256, json_schema_extra={"format": "password"}), NEW_PASSWORD]
BirthDate = Annotated[Day, AfterValidator(_of_age)]
