"""The operator who submitted a job while impersonating its owner."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("impersonator_id", sa.Uuid(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "impersonator_id")
