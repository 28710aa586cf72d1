"""Registrations that can be taken back: whose account is active, and which ones have ended."""

import sqlalchemy as sa
from alembic import op

from shared.data.placement.migration import shared_tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


@shared_tables
def upgrade() -> None:
    op.add_column("people", sa.Column("confirmed_at", _TIME, nullable=True))
    op.execute("UPDATE people SET confirmed_at = created_at")  # the events that said so have gone by
    op.create_table(
        "ended_registrations",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("ended_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_ended_registrations"),
    )
    op.create_index("ix_ended_registrations_ended_at", "ended_registrations", ["ended_at"])
