"""The tables of events as a service's first migration makes them; a later change is a migration of its own."""

from types import ModuleType

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects.postgresql import JSONB

_WHEN = sa.DateTime(timezone=True)


def create_event_tables(op: Operations | ModuleType) -> None:
    """Make outbox, inbox and projected_versions. The roles' grants on them are the schema's default privileges."""
    _create_outbox(op)
    _create_inbox(op)
    op.create_table(
        "projected_versions",
        sa.Column("aggregate", sa.Text(), primary_key=True),
        sa.Column("subject", sa.Uuid(), primary_key=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
    )


def index_parked_events(op: Operations | ModuleType) -> None:
    """A later migration of every service: parked events of the outbox are counted without reading all of it."""
    op.create_index("ix_outbox_parked", "outbox", ["position"], postgresql_where=sa.text("parked_at IS NOT NULL"))


def _create_outbox(op: Operations | ModuleType) -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("subject_version", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.Uuid()),
        sa.Column("traceparent", sa.Text()),
        sa.Column("request_id", sa.Text()),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("created_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.Column("published_at", _WHEN),
        *_attempts(),
    )
    waiting = sa.text("published_at IS NULL AND parked_at IS NULL")
    op.create_index("ix_outbox_waiting", "outbox", ["position"], postgresql_where=waiting)
    op.create_index("ix_outbox_waiting_subject", "outbox", ["subject", "position"], postgresql_where=waiting)
    published = sa.text("published_at IS NOT NULL")
    op.create_index("ix_outbox_published", "outbox", ["published_at"], postgresql_where=published)


def _create_inbox(op: Operations | ModuleType) -> None:
    op.create_table(
        "inbox",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Uuid()),
        sa.Column("subject_version", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.Uuid()),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.Column("handled_at", _WHEN),
        *_attempts(),
    )
    waiting = sa.text("handled_at IS NULL AND parked_at IS NULL")
    op.create_index("ix_inbox_waiting", "inbox", ["position"], postgresql_where=waiting)
    op.create_index("ix_inbox_waiting_subject", "inbox", ["subject", "position"], postgresql_where=waiting)
    op.create_index("ix_inbox_parked", "inbox", ["position"], postgresql_where=sa.text("parked_at IS NOT NULL"))
    op.create_index("ix_inbox_handled", "inbox", ["handled_at"], postgresql_where=sa.text("handled_at IS NOT NULL"))


def _attempts() -> list[sa.Column[object]]:
    return [
        sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("next_attempt_at", _WHEN, nullable=False, server_default=sa.func.now()),
        sa.Column("parked_at", _WHEN),
        sa.Column("fault", sa.Text()),
    ]
