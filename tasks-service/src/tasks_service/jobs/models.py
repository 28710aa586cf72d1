from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Select,
    Text,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSON
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Tenanted

PENDING, RUNNING, COMPLETED, FAILED, CANCELLED = "pending", "running", "completed", "failed", "cancelled"
ENDED: Final = (COMPLETED, FAILED, CANCELLED)
EVENTS_AT_ONCE: Final = 100

# The channels of PostgreSQL's NOTIFY.
QUEUE_CHANNEL: Final = "flotilla_jobs_queue"  # a job became due
CANCELS_CHANNEL: Final = "flotilla_jobs_cancels"  # a running job's cancellation was requested
EVENTS_CHANNEL: Final = "flotilla_jobs_events"  # a job has a new event; the topic is the job's id
CHANNELS: Final = (QUEUE_CHANNEL, CANCELS_CHANNEL, EVENTS_CHANNEL)


class Job(Tenanted):
    """One job: what was asked for, and the queue's entry for it.

    `attempt` only grows and fences the writes of a running attempt; `max_attempts` is the number of the last one that
    there will be, so an attempt that is given back unused moves it by one. `event_seq` numbers the job's events,
    `version` the facts published about it. Input and result are JSON texts: they keep the order of their keys.
    `impersonator_id` is the operator who submitted or retried the job as its owner; None for the owner.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        CheckConstraint("status IN ('pending', 'running', 'completed', 'failed', 'cancelled')", name="status"),
        CheckConstraint("(status = 'running') = (lease_until IS NOT NULL)", name="leased_while_running"),
        CheckConstraint("(status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="ended"),
        # The queue: the best job of each tenant is the first entry of that tenant.
        Index(
            "ix_jobs_queue", "tenant_id", text("priority DESC"), "run_at", postgresql_where=text("status = 'pending'")
        ),
        Index("ix_jobs_running", "tenant_id", "lease_until", postgresql_where=text("status = 'running'")),
        Index("ix_jobs_owner", "tenant_id", "user_id", text("created_at DESC")),
        Index("ix_jobs_created", "tenant_id", text("created_at DESC")),
        Index("ix_jobs_ended", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )

    id: Mapped[UUID]
    user_id: Mapped[UUID]
    username: Mapped[str]
    tenant_slug: Mapped[str | None]
    client_id: Mapped[str]
    impersonator_id: Mapped[UUID | None]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    kind: Mapped[str]
    input: Mapped[Any] = mapped_column(JSON, deferred=True)
    priority: Mapped[int]
    run_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    max_attempts: Mapped[int]
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    percent: Mapped[float] = mapped_column(DOUBLE_PRECISION, server_default=text("0"))
    message: Mapped[str | None]
    result: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True, deferred=True)
    error: Mapped[dict[str, Any] | None]
    request_id: Mapped[str | None]
    traceparent: Mapped[str | None]
    event_seq: Mapped[int] = mapped_column(server_default=text("0"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobEvent(Tenanted):
    """What a watcher of the job receives: the job as it was then."""

    __tablename__ = "job_events"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "job_id", "seq"),
        ForeignKeyConstraint(["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.id"], ondelete="CASCADE"),
    )

    job_id: Mapped[UUID]
    seq: Mapped[int]
    name: Mapped[str]
    data: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


async def find(db: AsyncSession, job_id: UUID, owner: UUID | None, *, for_update: bool = False) -> Job | None:
    """The tenant's job; None if there is none, or if it belongs to a person other than `owner`."""
    query = visible(owner).where(Job.id == job_id)
    return (await db.scalars(query.with_for_update() if for_update else query)).one_or_none()


def visible(owner: UUID | None) -> Select[Job]:
    """The tenant's jobs, or only those of one person."""
    return select(Job) if owner is None else select(Job).where(Job.user_id == owner)


async def result_text(db: AsyncSession, job_id: UUID) -> str | None:
    """The result as it was stored, without parsing it."""
    found: str | None = await db.scalar(select(cast(Job.result, Text)).where(Job.id == job_id))
    return found


async def events_after(db: AsyncSession, job_id: UUID, seq: int) -> Sequence[JobEvent]:
    """The job's events behind `seq`, oldest first, EVENTS_AT_ONCE at most."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > seq).order_by(JobEvent.seq)
    return (await db.scalars(query.limit(EVENTS_AT_ONCE))).all()
