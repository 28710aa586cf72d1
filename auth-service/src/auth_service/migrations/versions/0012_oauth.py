"""OAuth clients, authorization codes, pushed requests and consents; sessions that belong to clients."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"

_TIME = sa.DateTime(timezone=True)
_NOW = sa.func.now()
_TEXTS = postgresql.ARRAY(sa.Text())
_JSON = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    op.add_column("sessions", sa.Column("opened_by", sa.Uuid(), nullable=True))
    op.add_column("sessions", sa.Column("audience", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("dpop_jkt", sa.Text(), nullable=True))
    op.create_index("ix_sessions_opened_by", "sessions", ["opened_by"])
    op.create_table(
        "oauth_clients",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("auth_method", sa.Text(), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(), nullable=True),
        sa.Column("jwks", _JSON, nullable=True),
        sa.Column("native", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("first_party", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("redirect_uris", _TEXTS, nullable=False),
        sa.Column("post_logout_redirect_uris", _TEXTS, nullable=False),
        sa.Column("backchannel_logout_uri", sa.Text(), nullable=True),
        sa.Column("grant_types", _TEXTS, nullable=False),
        sa.Column("scopes", _TEXTS, nullable=False),
        sa.Column("roles", _TEXTS, nullable=False),
        sa.Column("resources", _TEXTS, nullable=False),
        sa.Column("dpop_bound", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("require_par", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("disabled_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_oauth_clients"),
    )
    op.create_index("ix_oauth_clients_tenant_id_created_at", "oauth_clients", ["tenant_id", "created_at"])
    op.create_table(
        "oauth_used_assertions",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_oauth_used_assertions"),
    )
    op.create_index("ix_oauth_used_assertions_expires_at", "oauth_used_assertions", ["expires_at"])
    op.create_table(
        "oauth_consents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("scopes", _TEXTS, nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_oauth_consents"),
        _to("accounts", "oauth_consents", "account_id"),
        _to("oauth_clients", "oauth_consents", "client_id"),
    )
    op.create_index(
        "uq_oauth_consents_account_client_tenant",
        "oauth_consents",
        ["account_id", "client_id", "tenant_id"],
        unique=True,
    )
    op.create_index("ix_oauth_consents_client_id", "oauth_consents", ["client_id"])
    op.create_table(
        "authorization_codes",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("opened_by", sa.Uuid(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("code_challenge", sa.Text(), nullable=False),
        sa.Column("scopes", _TEXTS, nullable=False),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column("audience", sa.Text(), nullable=True),
        sa.Column("dpop_jkt", sa.Text(), nullable=True),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name="pk_authorization_codes"),
        _to("accounts", "authorization_codes", "account_id"),
        _to("oauth_clients", "authorization_codes", "client_id"),
    )
    for column in ("expires_at", "account_id", "client_id"):
        op.create_index(f"ix_authorization_codes_{column}", "authorization_codes", [column])
    op.create_table(
        "pushed_authorization_requests",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_pushed_authorization_requests"),
        _to("oauth_clients", "pushed_authorization_requests", "client_id"),
    )
    for column in ("expires_at", "client_id"):
        op.create_index(f"ix_pushed_authorization_requests_{column}", "pushed_authorization_requests", [column])


def downgrade() -> None:
    tables = (
        "pushed_authorization_requests",
        "authorization_codes",
        "oauth_consents",
        "oauth_used_assertions",
        "oauth_clients",
    )
    for table in tables:
        op.drop_table(table)
    op.drop_index("ix_sessions_opened_by", "sessions")
    for column in ("dpop_jkt", "audience", "opened_by"):
        op.drop_column("sessions", column)


def _to(table: str, source: str, column: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{source}_{column}"
    return sa.ForeignKeyConstraint([column], [f"{table}.id"], name=name, ondelete="CASCADE")
