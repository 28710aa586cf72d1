"""What a pending account asked for, and accounts whose registration is being taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("pending_tenant_slug", sa.Text(), nullable=True))
    op.add_column("accounts", sa.Column("pending_tenant_name", sa.Text(), nullable=True))
    op.create_index(
        "ix_accounts_created_at_unfinished",
        "accounts",
        ["created_at"],
        postgresql_where=sa.text("status IN ('pending', 'ending')"),
    )
    op.drop_index("ix_accounts_created_at_pending", "accounts")
