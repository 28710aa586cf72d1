"""Who has deactivated an account."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("deactivated_by", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("accounts", "deactivated_by")
