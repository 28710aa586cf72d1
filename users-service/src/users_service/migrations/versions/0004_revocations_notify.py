"""Requests of the revocation feed that are held end when what it shows of memberships and tenants changes."""

from alembic import op

from shared.data.placement.migration import shared_tables
from shared.background.listen_notify import notify_on_change

revision = "0004"
down_revision = "0003"


@shared_tables
def upgrade() -> None:
    for table in ("memberships", "tenants"):
        notify_on_change(op, table, "revocations", change="UPDATE OF changed_at")


def downgrade() -> None:
    op.execute("DROP FUNCTION notify_channel() CASCADE")
