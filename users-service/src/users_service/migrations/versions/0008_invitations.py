"""Invitations by mail. The fleet role prunes them across tenants."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

from shared.data.placement.migration import shared_tables
from shared.data.policies import enable_tenancy

revision = "0008"
down_revision = "0007"

_TIME = sa.DateTime(timezone=True)


@shared_tables
def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("roles", ARRAY(sa.Text()), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_invitations"),
        sa.UniqueConstraint("tenant_id", "token_hash", name="uq_invitations_tenant_id_token_hash"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_invitations_tenant_id"),
    )
    op.create_index("ix_invitations_tenant_id_created_at", "invitations", ["tenant_id", "created_at"])
    enable_tenancy(op, "invitations", service="users", fleet=True)


@shared_tables
def downgrade() -> None:
    op.drop_table("invitations")
