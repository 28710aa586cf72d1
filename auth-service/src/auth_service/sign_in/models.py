from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import Account
from shared.data.models import Global
from shared.ids import new_id


class SignInFailure(Global):
    """A wrong password, counted against an account or an address; `key` is a hash, since people mistype passwords."""

    __tablename__ = "sign_in_failures"
    __table_args__ = (Index("ix_sign_in_failures_key_failed_at", "key", "failed_at"), Index(None, "failed_at"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    key: Mapped[bytes] = mapped_column(LargeBinary)
    failed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


class MfaAttempt(Global):
    """A sign-in that waits for its second factor, by the hash of its `mfa_token`.

    `amr` are the methods of its first step. `enrols`: the person has no factor and is to add one.
    """

    __tablename__ = "mfa_attempts"
    __table_args__ = (Index(None, "account_id"), Index(None, "expires_at"))

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    amr: Mapped[list[str]] = mapped_column(ARRAY(Text))
    choices: Mapped[dict[str, Any]] = mapped_column(JSONB)
    enrols: Mapped[bool]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
