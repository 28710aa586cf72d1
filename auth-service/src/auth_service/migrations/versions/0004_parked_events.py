"""An index by which the outbox's parked events are counted."""

from alembic import op

from shared.events.migration import index_parked_events

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    index_parked_events(op)


def downgrade() -> None:
    op.drop_index("ix_outbox_parked", "outbox")
