"""The activity log."""

from alembic import op

from shared.data.placement.migration import follow_writes
from shared.data.policies import enable_tenancy

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE activity (
            tenant_id uuid NOT NULL,
            id uuid NOT NULL,
            user_id uuid NOT NULL,
            type text NOT NULL,
            subject_id uuid NOT NULL,
            data jsonb NOT NULL,
            created_at timestamptz NOT NULL,
            CONSTRAINT pk_activity PRIMARY KEY (tenant_id, id)
        )
    """)
    op.execute("CREATE INDEX ix_activity_tenant_id_created_at_id ON activity (tenant_id, created_at, id)")
    op.execute("CREATE INDEX ix_activity_tenant_id_user_id_created_at_id ON activity (tenant_id, user_id, created_at, id)")
    enable_tenancy(op, "activity", service="users")
    follow_writes(op, "activity", "id")
