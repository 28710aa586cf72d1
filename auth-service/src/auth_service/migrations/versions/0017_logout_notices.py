"""Notices to OAuth clients that a sign-in has ended (OpenID Connect Back-Channel Logout 1.0)."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "logout_notices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("sid", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("due_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_logout_notices"),
        _to("oauth_clients", "client_id"),
        _to("accounts", "account_id"),
    )
    op.create_index("uq_logout_notices_client_id_sid", "logout_notices", ["client_id", "sid"], unique=True)
    for column in ("due_at", "account_id"):
        op.create_index(f"ix_logout_notices_{column}", "logout_notices", [column])


def downgrade() -> None:
    op.drop_table("logout_notices")


def _to(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{table}.id"], name=f"fk_logout_notices_{column}", ondelete="CASCADE")
