"""Times and days as RFC 3339 writes them: pydantic alone would take numbers, local times and days for times too."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from shared.field_errors import FieldRule

_DAY: Final = r"\d{4}-\d\d-\d\d"
_MOMENT: Final = re.compile(_DAY + r"[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FULL_DATE: Final = re.compile(_DAY, re.ASCII)

NOT_A_TIME: Final = FieldRule("not_a_time", "Must be a time with its offset, such as 2026-01-31T12:00:00Z (RFC 3339).")
NOT_A_DAY: Final = FieldRule("not_a_day", "Must be a day such as 2026-01-31 (RFC 3339).")


def _moment(value: Any) -> Any:
    """In UTC, whatever offset it came with; a time of our own stays as it is."""
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise NOT_A_TIME.broken()


def _day(value: Any) -> Any:
    if type(value) is date:  # a datetime is one too
        return value
    try:
        if isinstance(value, str) and _FULL_DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise NOT_A_DAY.broken()


Moment = Annotated[datetime, BeforeValidator(_moment)]
Day = Annotated[date, BeforeValidator(_day)]
