"""Signing keys of two algorithms: each has an active and a next key of its own.

An older release that is running signs on with the key in its memory.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_index(
        "uq_signing_keys_algorithm_status_current",
        "signing_keys",
        ["algorithm", "status"],
        unique=True,
        postgresql_where=sa.text("status <> 'retired'"),
    )
    op.drop_index("uq_signing_keys_status_current", "signing_keys")


def downgrade() -> None:
    op.execute("DELETE FROM signing_keys WHERE algorithm <> 'ES256'")
    op.create_index(
        "uq_signing_keys_status_current",
        "signing_keys",
        ["status"],
        unique=True,
        postgresql_where=sa.text("status <> 'retired'"),
    )
    op.drop_index("uq_signing_keys_algorithm_status_current", "signing_keys")
