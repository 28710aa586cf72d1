from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, ForeignKey, Index, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import Account
from auth_service.settings import SessionSettings
from shared.data.models import Global
from shared.ids import new_id


class Session(Global):
    """One sign-in, which is one family of refresh tokens. It belongs to a person, in one of their tenants.

    `generation` is that of the valid refresh token; tokens are computed, none is stored. `limited_to` are the scopes
    that the sign-in requested, if it named any: the session never gets others.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_account_id_created_at", "account_id", "created_at"),
        Index(None, "last_seen_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    tenant_id: Mapped[UUID]
    client_id: Mapped[str]
    limited_to: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    device: Mapped[str | None]
    address: Mapped[str | None]
    generation: Mapped[int] = mapped_column(server_default="0")
    rotated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    end_reason: Mapped[str | None]


def open_conditions(limits: SessionSettings) -> tuple[ColumnElement[bool], ...]:
    """The conditions of a session that has neither ended nor expired."""
    return (
        Session.ended_at.is_(None),
        Session.last_seen_at > func.now() - timedelta(seconds=limits.idle_ttl_s),
        Session.created_at > func.now() - timedelta(seconds=limits.max_ttl_s),
    )
