"""When and how a session's person proved who they are; sessions from before were opened by a password."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column(
        "sessions",
        sa.Column("auth_time", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )
    op.add_column(
        "sessions", sa.Column("amr", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{pwd}'"), nullable=False)
    )
    op.execute("UPDATE sessions SET auth_time = created_at")


def downgrade() -> None:
    op.drop_column("sessions", "amr")
    op.drop_column("sessions", "auth_time")
