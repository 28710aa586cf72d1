"""Requests of the revocation feed that are held end when a revocation is added."""

from alembic import op

from shared.background.listen_notify import notify_on_change

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    notify_on_change(op, "revocations", "revocations", change="INSERT OR UPDATE")


def downgrade() -> None:
    op.execute("DROP FUNCTION notify_channel() CASCADE")
