"""The trail of security events: who signed in, who was refused, what was ended and why."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, FetchedValue, Index, LargeBinary, SmallInteger, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global
from shared.ids import new_id


class SecurityEvent(Global):
    """One thing that happened to an account's security. Never a secret, a token or a password.

    Append-only: the application can insert rows, set the columns of the chain once, and wipe `address`, `details` and
    `salt` when a person is erased (migration 0010 has the grants and the trigger). `seq`, `content_hash` and
    `chain_hash` are the row's place in the hash chain (chain.py), null until the row is chained.
    """

    __tablename__ = "security_events"
    __table_args__ = (
        Index("ix_security_events_account_id_created_at", "account_id", "created_at"),
        Index("ix_security_events_actor_id", "actor_id"),
        Index("ix_security_events_session_id", "session_id"),
        Index("ix_security_events_tenant_id_created_at", "tenant_id", "created_at"),
        Index(None, "created_at"),
        Index("uq_security_events_seq", "seq", unique=True),
        Index("ix_security_events_created_at_unchained", "created_at", "id", postgresql_where=text("seq IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    account_id: Mapped[UUID | None]
    actor_id: Mapped[UUID | None]
    """The person who did it, where that is not the account's own person."""
    session_id: Mapped[UUID | None]
    tenant_id: Mapped[UUID | None]
    address: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    # FetchedValue: no INSERT of the application names these columns, because its role may not insert them.
    salt: Mapped[bytes | None] = mapped_column(LargeBinary, server_default=FetchedValue())
    seq: Mapped[int | None] = mapped_column(server_default=FetchedValue())
    content_hash: Mapped[bytes | None] = mapped_column(LargeBinary, server_default=FetchedValue())
    chain_hash: Mapped[bytes | None] = mapped_column(LargeBinary, server_default=FetchedValue())


class AuditChain(Global):
    """Where the hash chain begins and ends; one row.

    The checkpoint is the last event that retention has deleted (sequence 0 and zeros at first): the oldest event that
    is kept follows it.
    """

    __tablename__ = "audit_chain"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    head_seq: Mapped[int]
    head_hash: Mapped[bytes] = mapped_column(LargeBinary)
    checkpoint_seq: Mapped[int]
    checkpoint_hash: Mapped[bytes] = mapped_column(LargeBinary)
    exported_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
