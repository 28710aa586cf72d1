from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global
from shared.ids import new_id


class SecurityEvent(Global):
    """One thing that happened to an account's security. Never a secret, a token or a password."""

    __tablename__ = "security_events"
    __table_args__ = (
        Index("ix_security_events_account_id_created_at", "account_id", "created_at"),
        Index(None, "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    account_id: Mapped[UUID | None]
    session_id: Mapped[UUID | None]
    tenant_id: Mapped[UUID | None]
    address: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
