from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import Account
from auth_service.identity_providers.models import IdentityProvider
from shared.data.models import Global

CEREMONY_TTL_S: Final = 600  # as long as a person may take to sign in there


class UpstreamCeremony(Global):
    """A visit to an issuer that has begun, by the hash of its `state`; it can be finished once.

    `browser` is the hash of the secret in the browser's cookie. With an account the identity is linked to it, for as
    long as the session that asked is open; without one it signs in. `continued` is where the browser goes afterwards.
    """

    __tablename__ = "upstream_ceremonies"
    __table_args__ = (Index(None, "expires_at"), Index(None, "provider_id"), Index(None, "account_id"))

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    browser: Mapped[bytes] = mapped_column(LargeBinary)
    provider_id: Mapped[UUID] = mapped_column(ForeignKey(IdentityProvider.id, ondelete="CASCADE"))
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    session_id: Mapped[UUID | None]
    continued: Mapped[str]
    tenant: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
