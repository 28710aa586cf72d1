"""Upstream identity providers, the identities linked to accounts, and the sessions that they opened."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"

_TIME = sa.DateTime(timezone=True)
_NOW = sa.func.now()


def upgrade() -> None:
    op.add_column("sessions", sa.Column("provider_id", sa.Uuid(), nullable=True))
    op.add_column("sessions", sa.Column("confined", sa.Boolean(), server_default=sa.false(), nullable=False))
    with op.get_context().autocommit_block():
        op.create_index("ix_sessions_provider_id", "sessions", ["provider_id"], postgresql_concurrently=True)
    op.create_table(
        "identity_providers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("client_secret", sa.LargeBinary(), nullable=True),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("disabled_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_identity_providers"),
    )
    op.create_index("ix_identity_providers_tenant_id_created_at", "identity_providers", ["tenant_id", "created_at"])
    op.create_table(
        "identities",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("last_used_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        _to("accounts", "identities", "account_id"),
        _to("identity_providers", "identities", "provider_id"),
    )
    op.create_index("uq_identities_provider_id_subject", "identities", ["provider_id", "subject"], unique=True)
    op.create_index("ix_identities_account_id_created_at", "identities", ["account_id", "created_at"])
    op.create_table(
        "upstream_ceremonies",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("browser", sa.LargeBinary(), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("continued", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=True),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_upstream_ceremonies"),
        _to("accounts", "upstream_ceremonies", "account_id"),
        _to("identity_providers", "upstream_ceremonies", "provider_id"),
    )
    for column in ("expires_at", "provider_id", "account_id"):
        op.create_index(f"ix_upstream_ceremonies_{column}", "upstream_ceremonies", [column])


def downgrade() -> None:
    for table in ("upstream_ceremonies", "identities", "identity_providers"):
        op.drop_table(table)
    op.drop_index("ix_sessions_provider_id", "sessions")
    op.drop_column("sessions", "confined")
    op.drop_column("sessions", "provider_id")


def _to(table: str, source: str, column: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{source}_{column}"
    return sa.ForeignKeyConstraint([column], [f"{table}.id"], name=name, ondelete="CASCADE")
