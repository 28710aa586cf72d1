"""Who follows whom."""

from alembic import op

from shared.data.placement.migration import follow_writes
from shared.data.policies import enable_tenancy

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE follows (
            tenant_id uuid NOT NULL,
            follower_id uuid NOT NULL,
            followed_id uuid NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_follows PRIMARY KEY (tenant_id, follower_id, followed_id)
        )
    """)
    for of, shown in (("follower_id", "followed_id"), ("followed_id", "follower_id")):
        op.execute(
            f"CREATE INDEX ix_follows_tenant_id_{of}_created_at_{shown} ON follows (tenant_id, {of}, created_at, {shown})"
        )
    enable_tenancy(op, "follows", service="users")
    follow_writes(op, "follows", "follower_id", "followed_id")


def downgrade() -> None:
    op.drop_table("follows")
