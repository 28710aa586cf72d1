"""An index by which the outbox's parked events are counted."""

from alembic import op

from shared.data.placement.migration import shared_tables
from shared.events.migration import index_parked_events

revision = "0003"
down_revision = "0002"


@shared_tables
def upgrade() -> None:
    index_parked_events(op)


def downgrade() -> None:
    op.drop_index("ix_outbox_parked", "outbox")
