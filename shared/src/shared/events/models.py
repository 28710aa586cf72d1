"""Outbox and inbox: the two ends of every event, as rows in the services' own databases."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Identity, Index, LargeBinary, PrimaryKeyConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global

OUTBOX_WAITING = "published_at IS NULL AND parked_at IS NULL"
INBOX_WAITING = "handled_at IS NULL AND parked_at IS NULL"


@dataclass(frozen=True, slots=True)
class InboxWritten:
    """Announced after new messages were stored, so that this process's inbox worker does not wait for its next poll."""


class OutboxRow(Global):
    """An event that is true because its transaction committed; the relay carries it to the bus.

    `position` counts insertions. Two transactions that change one aggregate wait for each other, so the events of one
    subject have it in the order of their commits; those of different subjects need not.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_waiting", "position", postgresql_where=text(OUTBOX_WAITING)),
        Index("ix_outbox_waiting_subject", "subject", "position", postgresql_where=text(OUTBOX_WAITING)),
        Index("ix_outbox_parked", "position", postgresql_where=text("parked_at IS NOT NULL")),
        Index("ix_outbox_published", "published_at", postgresql_where=text("published_at IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    type: Mapped[str]
    subject: Mapped[UUID]
    subject_version: Mapped[int]
    tenant_id: Mapped[UUID | None]
    traceparent: Mapped[str | None]
    request_id: Mapped[str | None]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    published_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    parked_at: Mapped[datetime | None]
    fault: Mapped[str | None]


class InboxRow(Global):
    """An event that arrived: stored before it is acknowledged, handled once, in the transaction of its effect.

    `message` is what came, byte for byte. Where it could not be read, `subject` is None and `type` is empty.
    """

    __tablename__ = "inbox"
    __table_args__ = (
        Index("ix_inbox_waiting", "position", postgresql_where=text(INBOX_WAITING)),
        Index("ix_inbox_waiting_subject", "subject", "position", postgresql_where=text(INBOX_WAITING)),
        Index("ix_inbox_parked", "position", postgresql_where=text("parked_at IS NOT NULL")),
        Index("ix_inbox_handled", "handled_at", postgresql_where=text("handled_at IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    type: Mapped[str]
    subject: Mapped[UUID | None]
    subject_version: Mapped[int]
    tenant_id: Mapped[UUID | None]
    message: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    handled_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    parked_at: Mapped[datetime | None]
    fault: Mapped[str | None]


class ProjectedVersion(Global):
    """The newest version of an aggregate that the service's `latest_only` handlers have seen; outlives the inbox."""

    __tablename__ = "projected_versions"
    __table_args__ = (PrimaryKeyConstraint("aggregate", "subject"),)

    aggregate: Mapped[str]
    subject: Mapped[UUID]
    version: Mapped[int]
