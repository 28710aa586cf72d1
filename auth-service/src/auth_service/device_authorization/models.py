from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import Account
from auth_service.clients.models import Client
from shared.data.models import Global

TTL_S: Final = 600
INTERVAL_S: Final = 5


class DeviceCode(Global):
    """A device's request, by the hash of its `device_code`; `user_code` is what the person types.

    It is pending until it is allowed by the person of the session `allowed_by`, or refused. `session_id` is the session
    that it opened: it is spent once.
    """

    __tablename__ = "device_codes"
    __table_args__ = (
        Index("uq_device_codes_user_code", "user_code", unique=True),
        Index(None, "expires_at"),
        Index(None, "client_id"),
        Index(None, "account_id"),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_code: Mapped[str]
    client_id: Mapped[UUID] = mapped_column(ForeignKey(Client.id, ondelete="CASCADE"))
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    audience: Mapped[str | None]
    interval_s: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    polled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    refused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    tenant_id: Mapped[UUID | None]
    allowed_by: Mapped[UUID | None]
    session_id: Mapped[UUID | None]
