"""What a tenant decides about its members' sign-ins, pages and mails."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from shared.data.placement.migration import shared_tables

revision = "0006"
down_revision = "0005"


@shared_tables
def upgrade() -> None:
    op.add_column("tenants", sa.Column("settings", JSONB(), server_default=sa.text("'{}'"), nullable=False))


def downgrade() -> None:
    op.drop_column("tenants", "settings")
