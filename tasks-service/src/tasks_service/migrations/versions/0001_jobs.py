"""Jobs and their events, idempotency keys, outbox and inbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.data.policies import enable_tenancy
from shared.events.migration import create_event_tables
from shared.web.idempotency_keys import create_idempotency_table

revision = "0001"
down_revision = None

_now = sa.text("now()")
_time = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_event_tables(op)
    create_idempotency_table(op, service="tasks")
    _create_jobs()
    _create_job_events()
    enable_tenancy(op, "jobs", service="tasks", fleet=True)
    enable_tenancy(op, "job_events", service="tasks")


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("tenant_slug", sa.Text()),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("input", postgresql.JSON(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("run_at", _time, server_default=_now, nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_attempts", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("lease_until", _time),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("percent", postgresql.DOUBLE_PRECISION(), server_default=sa.text("0"), nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("result", postgresql.JSON()),
        sa.Column("error", postgresql.JSONB()),
        sa.Column("request_id", sa.Text()),
        sa.Column("traceparent", sa.Text()),
        sa.Column("event_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", _time, server_default=_now, nullable=False),
        sa.Column("started_at", _time),
        sa.Column("finished_at", _time),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_jobs"),
        sa.CheckConstraint("status IN ('pending', 'running', 'completed', 'failed', 'cancelled')", name="status"),
        sa.CheckConstraint("(status = 'running') = (lease_until IS NOT NULL)", name="leased_while_running"),
        sa.CheckConstraint(
            "(status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="ended"
        ),
    )
    pending, running = sa.text("status = 'pending'"), sa.text("status = 'running'")
    newest = sa.text("created_at DESC")
    op.create_index("ix_jobs_queue", "jobs", ["tenant_id", sa.text("priority DESC"), "run_at"], postgresql_where=pending)
    op.create_index("ix_jobs_running", "jobs", ["tenant_id", "lease_until"], postgresql_where=running)
    op.create_index("ix_jobs_owner", "jobs", ["tenant_id", "user_id", newest])
    op.create_index("ix_jobs_created", "jobs", ["tenant_id", newest])


def _create_job_events() -> None:
    op.create_table(
        "job_events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSON(), nullable=False),
        sa.Column("created_at", _time, server_default=_now, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "job_id", "seq", name="pk_job_events"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["jobs.tenant_id", "jobs.id"],
            name="fk_job_events_tenant_id_job_id",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    """The first migration cannot be undone; drop the database instead."""
