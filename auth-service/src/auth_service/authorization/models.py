from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import Account
from auth_service.clients.models import Client
from shared.data.models import Global


class AuthorizationCode(Global):
    """A code by its hash, and what it stands for. It is spent once; `session_id` is the session that it opened."""

    __tablename__ = "authorization_codes"
    __table_args__ = (Index(None, "expires_at"), Index(None, "account_id"), Index(None, "client_id"))

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey(Client.id, ondelete="CASCADE"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    tenant_id: Mapped[UUID]
    opened_by: Mapped[UUID]
    redirect_uri: Mapped[str]
    code_challenge: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    nonce: Mapped[str | None]
    audience: Mapped[str | None]
    dpop_jkt: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    session_id: Mapped[UUID | None]


class PushedRequest(Global):
    """An authorization request that a client sent ahead (RFC 9126), by the hash of its `request_uri`."""

    __tablename__ = "pushed_authorization_requests"
    __table_args__ = (Index(None, "expires_at"), Index(None, "client_id"))

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey(Client.id, ondelete="CASCADE"))
    query: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
