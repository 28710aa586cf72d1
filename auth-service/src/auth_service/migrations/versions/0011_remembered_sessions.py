"""Sessions that may be idle for weeks because their sign-in asked for it; those from before were promised that too."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("remembered", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.alter_column("sessions", "remembered", server_default=sa.false())


def downgrade() -> None:
    op.drop_column("sessions", "remembered")
