"""Codes of devices (RFC 8628)."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "device_codes",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_code", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("audience", sa.Text(), nullable=True),
        sa.Column("interval_s", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("polled_at", _TIME, nullable=True),
        sa.Column("refused_at", _TIME, nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("allowed_by", sa.Uuid(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name="pk_device_codes"),
        _to("oauth_clients", "client_id"),
        _to("accounts", "account_id"),
    )
    op.create_index("uq_device_codes_user_code", "device_codes", ["user_code"], unique=True)
    for column in ("expires_at", "client_id", "account_id"):
        op.create_index(f"ix_device_codes_{column}", "device_codes", [column])


def downgrade() -> None:
    op.drop_table("device_codes")


def _to(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{table}.id"], name=f"fk_device_codes_{column}", ondelete="CASCADE")
