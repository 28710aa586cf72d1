"""Birth dates of people who may have an account: 13 to 120 years old, counted by the date in UTC."""

from datetime import UTC, date, datetime
from typing import Annotated, Final

from pydantic import AfterValidator

from shared.field_errors import FieldRule
from shared.web.times import Day

YOUNGEST: Final = 13
OLDEST: Final = 120

AGE: Final = FieldRule("age", "Must be the birth date of a person of {youngest} to {oldest} years.")


def _of_age(born: date) -> date:
    today = datetime.now(UTC).date()
    years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    if not YOUNGEST <= years <= OLDEST:
        raise AGE.broken(youngest=YOUNGEST, oldest=OLDEST)
    return born


BirthDate = Annotated[Day, AfterValidator(_of_age)]
