"""Figures as clients see them. Days are UTC."""

from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.field_errors import FieldRule
from shared.problems import InvalidInput
from shared.web.times import Day

DEFAULT_DAYS: Final = 30
_MAX_DAYS: Final = 366
_EARLIEST, _LATEST = date(2000, 1, 1), date(9000, 1, 1)

PERIOD: Final = FieldRule("period", "Must be a period of 1 to {days} days: `from` the first, `to` the last.")


class Period(BaseModel):
    """Whole days from `first` to before `end`."""

    first: date
    end: date


class PeriodQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    first: Day | None = Field(default=None, alias="from", description="The first day; 30 days ago if left out.")
    last: Day | None = Field(default=None, alias="to", description="The last day; today if left out.")

    @property
    def period(self) -> Period:
        """Raises InvalidInput for one that is empty or too long."""
        last = self.last or datetime.now(UTC).date()
        first = self.first or max(last, _EARLIEST) - timedelta(days=DEFAULT_DAYS - 1)
        if not (_EARLIEST <= last < _LATEST and 0 <= (last - first).days < _MAX_DAYS):
            raise InvalidInput(errors=[PERIOD.at(parameter="from", days=_MAX_DAYS)])
        return Period(first=first, end=last + timedelta(days=1))


class BasicFigures(BaseModel):
    users: int = Field(description="Active members now.", examples=[12])
    active_users: int = Field(description="People in the activity log of the period.", examples=[7])
    posts: int = Field(description="Published in the period.", examples=[31])
    files: int = Field(description="Uploaded in the period, and not deleted.", examples=[4])


class DayFigures(BaseModel):
    day: date
    active_users: int = Field(examples=[3])
    posts: int = Field(examples=[2])
    files: int = Field(examples=[1])


class TopAuthor(BaseModel):
    id: UUID
    username: str = Field(examples=["ann"])
    posts: int = Field(examples=[9])


class StoredType(BaseModel):
    content_type: str = Field(examples=["text/csv"])
    count: int = Field(examples=[4])
    bytes: int = Field(examples=[81920])


class DetailedFigures(BaseModel):
    by_day: list[DayFigures]
    top_authors: list[TopAuthor] = Field(description="The ten with the most posts of the period.")
    storage_by_type: list[StoredType] = Field(description="What is stored now.")


class PersonFigures(BaseModel):
    id: UUID
    last_seen_at: datetime | None = Field(description="The newest entry about them in the activity log.")
    storage_bytes: int = Field(examples=[81920])


class SensitiveFigures(BaseModel):
    people: list[PersonFigures] = Field(description="The hundred with the most storage.")


class Analytics(BaseModel):
    """Which parts there are depends on the caller's scopes; the others are null."""

    basic: BasicFigures
    detailed: DetailedFigures | None = Field(description="With analytics:read.")
    sensitive: SensitiveFigures | None = Field(description="With admin:read.")


class UserCounts(BaseModel):
    total: int = Field(examples=[14])
    active: int = Field(examples=[12])
    invited: int = Field(examples=[1])
    suspended: int = Field(examples=[1])


class FileCounts(BaseModel):
    count: int = Field(examples=[4])
    bytes: int = Field(examples=[81920])


class DayCount(BaseModel):
    day: date
    count: int = Field(examples=[2])


class Dashboard(BaseModel):
    users: UserCounts
    posts: int = Field(description="Published ones.", examples=[31])
    files: FileCounts
    reports_open: int = Field(examples=[0])
    new_users_by_day: list[DayCount] = Field(description="Of the last 30 days.")
