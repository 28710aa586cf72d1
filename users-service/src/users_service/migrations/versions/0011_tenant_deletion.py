"""When a tenant that was deleted by its admin is erased."""

import sqlalchemy as sa
from alembic import op

from shared.data.placement.migration import shared_tables

revision = "0011"
down_revision = "0010"


@shared_tables
def upgrade() -> None:
    op.add_column("tenants", sa.Column("erase_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_tenants_erase_at", "tenants", ["erase_at"], postgresql_where=sa.text("erase_at IS NOT NULL"))


@shared_tables
def downgrade() -> None:
    op.drop_column("tenants", "erase_at")
