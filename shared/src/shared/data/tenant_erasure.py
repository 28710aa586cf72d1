"""Erasing what a service has of a tenant, in batches: all its tenanted tables, whichever slices there are."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnClause, Table, delete, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.models import Base, Tenanted

BATCH: Final = 1_000
_PLACEMENT: Final = ("placements", "placement_changes")
"""They say where the tenant's schema is, which stays until an owner of the database drops it."""


def tenanted_tables() -> list[Table]:
    """The service's tables that have rows of tenants; those that refer to others come first."""
    tenanted = {mapper.local_table for mapper in Base.registry.mappers if issubclass(mapper.class_, Tenanted)}
    return [
        table for table in reversed(Base.metadata.sorted_tables) if table in tenanted and table.name not in _PLACEMENT
    ]


async def erase_some(db: AsyncSession, tenant_id: UUID, *, spare: Collection[str] = (), most: int = BATCH) -> bool:
    """Delete at most `most` rows of the transaction's tenant, outside of the tables `spare`; whether any was left."""
    ctid: ColumnClause[object] = literal_column("ctid")
    for table in tenanted_tables():
        if table.name not in spare:
            some = select(ctid).select_from(table).where(table.c.tenant_id == tenant_id).limit(most)
            gone = await db.execute(delete(table).where(ctid.in_(some)))
            if gone.rowcount > 0:  # type: ignore[attr-defined]  # a DELETE's result has it
                return True
    return False
