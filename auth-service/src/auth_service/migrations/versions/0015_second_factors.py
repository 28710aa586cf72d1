"""Second factors: authenticator apps, passkeys, recovery codes, and the sign-ins that wait for one."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"

_TIME = sa.DateTime(timezone=True)
_NOW = sa.func.now()
_TEXTS = postgresql.ARRAY(sa.Text())


def _owned_by_account(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=f"fk_{table}_account_id", ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "totp_factors",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("confirmed_at", _TIME, nullable=True),
        sa.Column("last_used_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_totp_factors"),
        _owned_by_account("totp_factors"),
    )
    op.create_index("ix_totp_factors_account_id", "totp_factors", ["account_id"])
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("transports", _TEXTS, nullable=False),
        sa.Column("synchronized", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("last_used_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_passkeys"),
        _owned_by_account("passkeys"),
    )
    op.create_index("ix_passkeys_account_id", "passkeys", ["account_id"])
    op.create_index("uq_passkeys_credential_id", "passkeys", ["credential_id"], unique=True)
    op.create_table(
        "passkey_challenges",
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("challenge", name="pk_passkey_challenges"),
        _owned_by_account("passkey_challenges"),
    )
    op.create_index("ix_passkey_challenges_account_id", "passkey_challenges", ["account_id"])
    op.create_index("ix_passkey_challenges_expires_at", "passkey_challenges", ["expires_at"])
    op.create_table(
        "recovery_codes",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("account_id", "digest", name="pk_recovery_codes"),
        _owned_by_account("recovery_codes"),
    )
    op.create_table(
        "mfa_attempts",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("amr", _TEXTS, nullable=False),
        sa.Column("choices", postgresql.JSONB(), nullable=False),
        sa.Column("enrols", sa.Boolean(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_mfa_attempts"),
        _owned_by_account("mfa_attempts"),
    )
    op.create_index("ix_mfa_attempts_account_id", "mfa_attempts", ["account_id"])
    op.create_index("ix_mfa_attempts_expires_at", "mfa_attempts", ["expires_at"])


def downgrade() -> None:
    for table in ("mfa_attempts", "recovery_codes", "passkey_challenges", "passkeys", "totp_factors"):
        op.drop_table(table)
