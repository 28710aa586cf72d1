from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import Account
from shared.data.models import Global
from shared.ids import new_id


class TotpFactor(Global):
    """An authenticator app. It counts once `confirmed_at` is set, by a first code.

    `secret` is encrypted. `last_step` is the time step of the last code that was accepted: no code of that step or an
    earlier one is accepted again (RFC 6238, section 5.2).
    """

    __tablename__ = "totp_factors"
    __table_args__ = (Index(None, "account_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    name: Mapped[str]
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    last_step: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Passkey(Global):
    """A WebAuthn credential. `synchronized`: its key is copied between the person's devices."""

    __tablename__ = "passkeys"
    __table_args__ = (Index(None, "account_id"), Index("uq_passkeys_credential_id", "credential_id", unique=True))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    name: Mapped[str]
    credential_id: Mapped[bytes] = mapped_column(LargeBinary)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int]
    transports: Mapped[list[str]] = mapped_column(ARRAY(Text))
    synchronized: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PasskeyChallenge(Global):
    """A challenge that a browser's authenticator signs; deleted when it is answered.

    Without an account it is for a sign-in by passkey alone, which says who signs in.
    """

    __tablename__ = "passkey_challenges"
    __table_args__ = (Index(None, "account_id"), Index(None, "expires_at"))

    challenge: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    purpose: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RecoveryCode(Global):
    """A recovery code by its hash."""

    __tablename__ = "recovery_codes"

    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
