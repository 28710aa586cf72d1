"""The tables of the mechanism. A service whose models are `Placed` imports this module, and has them thereby."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, Identity, Index, PrimaryKeyConstraint, Table, func, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Base, Placed, Tenanted

SHARED_HOME: Final = "public"


class Placement(Tenanted):
    """Where a tenant's content is, and where it is being moved; a tenant without a row is in the shared tables."""

    __tablename__ = "placements"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id"),
        CheckConstraint("phase IN ('copying', 'cleaning')", name="phase"),
        CheckConstraint("(phase IS NULL) = (other IS NULL)", name="other"),
    )

    home: Mapped[str] = mapped_column(server_default=text("'public'"))
    other: Mapped[str | None]
    """While rows are copied: the home to be; while old ones are removed: the home that was."""
    phase: Mapped[str | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class PlacementChange(Tenanted):
    """A row that was written while its tenant was being copied; `key` is its primary key."""

    __tablename__ = "placement_changes"
    __table_args__ = (PrimaryKeyConstraint("id"), Index("ix_placement_changes_tenant_id", "tenant_id", "id"))

    id: Mapped[int] = mapped_column(Identity(always=True))
    table_name: Mapped[str]
    key: Mapped[dict[str, Any]]


def home_of_its_own(tenant_id: UUID) -> str:
    """The name of the tenant's own schema."""
    return f"tenant_{tenant_id.hex}"


def placed_tables() -> list[Table]:
    """The service's placed tables; those that others refer to come first."""
    placed = {mapper.local_table for mapper in Base.registry.mappers if issubclass(mapper.class_, Placed)}
    return [table for table in Base.metadata.sorted_tables if table in placed]
