"""Sessions in which an operator acts as a person."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("impersonator_id", sa.Uuid(), nullable=True))
    op.add_column("sessions", sa.Column("impersonation_reason", sa.Text(), nullable=True))
    with op.get_context().autocommit_block():
        op.create_index("ix_sessions_impersonator_id", "sessions", ["impersonator_id"], postgresql_concurrently=True)


def downgrade() -> None:
    op.drop_index("ix_sessions_impersonator_id", "sessions")
    op.drop_column("sessions", "impersonation_reason")
    op.drop_column("sessions", "impersonator_id")
