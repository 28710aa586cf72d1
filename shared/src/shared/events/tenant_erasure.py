"""Erasing a tenant that users-service has erased: the event is noted at once, and the rows go in batches.

A service adds `handlers` to its handlers, `erasing(database)` to its loops, and the table in a migration. Importing
this module adds the table to the service's models.
"""

from datetime import datetime
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, Final
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.background import PollingLoop, Progress
from shared.data.database import Database, enter_tenant
from shared.data.models import Global
from shared.data.tenant_erasure import erase_some
from shared.events.event import Consumed
from shared.events.handlers import EventHandlers

if TYPE_CHECKING:  # serving processes import this module, and only migrations Alembic
    from alembic.operations import Operations

_EVERY_S: Final = 10.0

handlers: Final = EventHandlers()
log = structlog.get_logger(__name__)


class ErasedTenant(Global):
    """A tenant whose rows are to be deleted here; the row goes with the last of them."""

    __tablename__ = "erased_tenants"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    reported_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TenantErased(Consumed):
    """The tenant is gone; `subject` is its id."""

    type: ClassVar[str] = "tenant.erased.v1"


@handlers.on(TenantErased)
async def tenant_erased(db: AsyncSession, event: TenantErased) -> None:
    await db.execute(insert(ErasedTenant).values(tenant_id=event.subject).on_conflict_do_nothing())


def create_erased_tenants_table(op: "Operations | ModuleType") -> None:
    op.create_table(
        "erased_tenants",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_erased_tenants"),
    )


def erasing(database: Database) -> PollingLoop:
    """Erases what is left of erased tenants. Any number of replicas may do so: each takes a tenant of its own."""
    due = partial(database.finds, select(select(ErasedTenant.tenant_id).exists()))
    return PollingLoop("tenant erasure", partial(erase, database), every_s=_EVERY_S, due=due)


async def erase(database: Database) -> Progress:
    """Delete a batch of one tenant's rows."""
    async with database.transaction() as db:
        oldest = select(ErasedTenant).order_by(ErasedTenant.reported_at).limit(1)
        found = await db.scalar(oldest.with_for_update(skip_locked=True))
        if found is None:
            return Progress.IDLE
        await enter_tenant(db, found.tenant_id)
        if not await erase_some(db, found.tenant_id):
            await db.delete(found)
            log.info("tenant_erased", tenant=str(found.tenant_id))
        return Progress.MORE
