"""Reports to moderators."""

from alembic import op

from shared.data.placement.migration import follow_writes
from shared.data.policies import enable_tenancy

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE reports (
            tenant_id uuid NOT NULL,
            id uuid NOT NULL,
            reporter_id uuid NOT NULL,
            subject_type text NOT NULL,
            subject_id uuid NOT NULL,
            owner_id uuid NOT NULL,
            reason text NOT NULL,
            action text,
            note text,
            resolved_by uuid,
            resolved_at timestamptz,
            version bigint NOT NULL DEFAULT 1,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_reports PRIMARY KEY (tenant_id, id),
            CONSTRAINT ck_reports_subject_type CHECK (subject_type IN ('post', 'user', 'file')),
            CONSTRAINT ck_reports_action CHECK (action IN ('dismiss', 'remove', 'suspend')),
            CONSTRAINT ck_reports_resolved_at CHECK ((action IS NULL) = (resolved_at IS NULL))
        )
    """)
    op.execute("CREATE INDEX ix_reports_tenant_id_created_at_id ON reports (tenant_id, created_at, id)")
    op.execute(
        "CREATE UNIQUE INDEX uq_reports_open ON reports (tenant_id, reporter_id, subject_type, subject_id)"
        " WHERE resolved_at IS NULL"
    )
    enable_tenancy(op, "reports", service="users")
    follow_writes(op, "reports", "id")
