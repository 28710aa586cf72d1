"""Outbox and inbox: the two ends of every event, as rows in the services' own databases."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Index, LargeBinary, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global


class OutboxRow(Global):
    """An event that is true because its transaction committed; the relay carries it to the bus."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_waiting", "created_at", "id", postgresql_where=text("published_at IS NULL")),
        Index("ix_outbox_published", "published_at", postgresql_where=text("published_at IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    subject: Mapped[UUID]
    subject_version: Mapped[int]
    tenant_id: Mapped[UUID | None]
    traceparent: Mapped[str | None]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    published_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    parked_at: Mapped[datetime | None]
    fault: Mapped[str | None]


class InboxRow(Global):
    """An event that arrived: stored before it is acknowledged, handled once, in the transaction of its effect."""

    __tablename__ = "inbox"
    __table_args__ = (
        Index(
            "ix_inbox_waiting", "received_at", "id", postgresql_where=text("handled_at IS NULL AND parked_at IS NULL")
        ),
        Index("ix_inbox_handled", "handled_at", postgresql_where=text("handled_at IS NOT NULL")),
        Index("ix_inbox_latest", "subject", "type", "subject_version"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    subject: Mapped[UUID | None]
    subject_version: Mapped[int]
    message: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    handled_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    parked_at: Mapped[datetime | None]
    fault: Mapped[str | None]
