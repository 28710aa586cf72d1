"""A job as clients send it and as they see it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from shared.field_errors import FieldRule
from shared.web.json_input import Input
from shared.web.paging import ListQuery
from shared.web.times import Moment
from tasks_service.jobs.models import ENDED, Job

MAX_DELAY = timedelta(days=366)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
TOO_FAR_AHEAD = FieldRule("too_far_ahead", "Must be at most {days} days ahead.")
TOO_EARLY = FieldRule("too_early", "Must lie in {year} or later.")

Status = Literal["pending", "running", "completed", "failed", "cancelled"]


def _within_reach(value: datetime) -> datetime:
    if value > datetime.now(UTC) + MAX_DELAY:
        raise TOO_FAR_AHEAD.broken(days=MAX_DELAY.days)
    if value < EARLIEST:
        raise TOO_EARLY.broken(year=EARLIEST.year)
    return value


class JobIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "kind": "data_processing",
                "input": {"operation": "sum", "field": "amount", "rows": [{"amount": 10}, {"amount": 32}]},
            }
        }
    )

    kind: str = Field(max_length=64, description="One of GET /api/v1/job-kinds.")
    input: dict[str, Any] = Field(description="The input, by the kind's schema.")
    priority: int = Field(default=0, strict=True, ge=-100, le=100, description="Higher runs first within the tenant.")
    run_at: Annotated[Moment, AfterValidator(_within_reach)] | None = Field(
        default=None, description="Not before this time; null or past: as soon as a worker is free."
    )


class Progress(BaseModel):
    """How far the running attempt is. Of an ended job: all of it when it is completed, else how far it came."""

    percent: float = Field(description="0 to 100; 0 while the job waits for an attempt.", examples=[40])
    message: str | None = Field(
        description="A progress message; null without one, and once completed.", examples=["2 of 5"]
    )


class JobOut(BaseModel):
    id: UUID
    kind: str = Field(examples=["wait"])
    status: Status
    progress: Progress
    attempt: int = Field(description="The attempt that runs, or ran last; 0 before the first.")
    max_attempts: int = Field(description="The number of the last attempt.")
    error: dict[str, JsonValue] | None = Field(
        description="A problem (RFC 9457): why the job, or its attempt, failed.", examples=[None]
    )
    user_id: UUID
    priority: int = Field(examples=[0])
    run_at: datetime
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls.model_validate(
            {
                **{name: getattr(job, name) for name in cls.model_fields if name != "progress"},
                "progress": {"percent": job.percent, "message": job.message},
            }
        )

    @property
    def ended(self) -> bool:
        return self.status in ENDED


class JobQuery(ListQuery):
    """The filters of the list."""

    status: list[Status] = Field(default_factory=list, max_length=5, description="Repeat for several.")
    kind: list[str] = Field(default_factory=list, max_length=20, description="Repeat for several.")


class KindOut(BaseModel):
    """A kind of job that can be asked for."""

    name: str = Field(examples=["wait"])
    description: str = Field(examples=["Waits in steps."])
    scopes: list[str] = Field(description="The scopes required besides jobs:write.", examples=[[]])
    timeout_s: float = Field(description="How long one attempt may take.", examples=[60])
    max_attempts: int = Field(examples=[3])
    input: dict[str, JsonValue] = Field(description="JSON Schema of `input`.", examples=[{"type": "object"}])
