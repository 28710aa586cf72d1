"""Tenants whose content has a home of its own; writes to it are noted while the tenant moves."""

from alembic import op

from shared.data.placement.migration import create_placement_tables, follow_writes, shared_tables

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    _placements()
    follow_writes(op, "profiles", "user_id")
    follow_writes(op, "files", "id")


@shared_tables
def _placements() -> None:
    create_placement_tables(op, service="users")
