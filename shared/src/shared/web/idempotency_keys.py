"""The table behind Idempotency-Key: its rows, how a migration makes it, and how old rows go."""

from datetime import datetime, timedelta
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import DateTime, Index, LargeBinary, PrimaryKeyConstraint, delete, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.background import PollingLoop
from shared.data.database import Database
from shared.data.models import Tenanted
from shared.data.policies import enable_tenancy

if TYPE_CHECKING:  # serving processes import this module, and only migrations Alembic
    from alembic.operations import Operations

KEPT_H: Final = 24
PRUNE_EVERY_S: Final = 600.0


class IdempotencyKey(Tenanted):
    """The answer that a key's first request got."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "user_id", "key", "operation"),
        Index(None, "created_at"),
    )

    user_id: Mapped[UUID]
    key: Mapped[str]
    operation: Mapped[str]
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


OLD: Final = IdempotencyKey.created_at < func.now() - timedelta(hours=KEPT_H)


def create_idempotency_table(op: "Operations | ModuleType", *, service: str) -> None:
    """Make the table in a service's first migration. The fleet role sees it, to prune it."""
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.BigInteger()),
        sa.Column("headers", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "key", "operation", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    enable_tenancy(op, "idempotency_keys", service=service, fleet=True)


def pruning(database: Database) -> PollingLoop:
    """Prunes the keys: background work of every service that accepts them."""
    return PollingLoop("idempotency keys", partial(prune, database), every_s=PRUNE_EVERY_S)


async def prune(database: Database) -> None:
    """Delete the keys of all tenants that are older than 24 hours."""
    async with database.transaction(role="fleet") as fleet:
        await fleet.execute(delete(IdempotencyKey).where(OLD))
