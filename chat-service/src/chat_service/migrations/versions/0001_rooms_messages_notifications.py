"""People, rooms and their members, messages, notifications."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.data.policies import enable_tenancy
from shared.events.migration import create_event_tables
from shared.web.idempotency_keys import create_idempotency_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NOW = sa.func.now()


def upgrade() -> None:
    create_event_tables(op)
    _people()
    _rooms()
    _messages()
    _notifications()
    create_idempotency_table(op, service="chat")


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", name="pk_people"),
    )
    enable_tenancy(op, "people", service="chat")


def _rooms() -> None:
    op.create_table(
        "rooms",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("direct_key", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("members_version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_rooms"),
        sa.UniqueConstraint("tenant_id", "direct_key", name="uq_rooms_direct_key"),
        sa.CheckConstraint("kind IN ('public', 'private', 'direct')", name="ck_rooms_kind"),
    )
    op.create_index(
        "uq_rooms_public_name",
        "rooms",
        ["tenant_id", sa.text("lower(name)")],
        unique=True,
        postgresql_where=sa.text("kind = 'public'"),
    )
    op.create_index("ix_rooms_created_at", "rooms", ["tenant_id", "created_at", "id"])
    enable_tenancy(op, "rooms", service="chat", fleet=True)
    op.create_table(
        "room_members",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("room_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("read_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "room_id", "user_id", name="pk_room_members"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "room_id"], ["rooms.tenant_id", "rooms.id"], name="fk_room_members_room"
        ),
    )
    op.create_index("ix_room_members_user", "room_members", ["tenant_id", "user_id"])
    op.create_index("ix_room_members_created_at", "room_members", ["tenant_id", "room_id", "created_at", "user_id"])
    enable_tenancy(op, "room_members", service="chat")


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("room_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("sender_id", sa.Uuid(), nullable=True),
        sa.Column("sender_username", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sent_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "room_id", "seq", name="pk_messages"),
        sa.UniqueConstraint("tenant_id", "room_id", "sender_id", "client_id", name="uq_messages_client_id"),
        sa.ForeignKeyConstraint(["tenant_id", "room_id"], ["rooms.tenant_id", "rooms.id"], name="fk_messages_room"),
    )
    enable_tenancy(op, "messages", service="chat")


def _notifications() -> None:
    op.create_table(
        "recipients",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", name="pk_recipients"),
    )
    enable_tenancy(op, "recipients", service="chat", fleet=True)
    op.create_table(
        "notifications",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("read_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "seq", name="pk_notifications"),
        sa.UniqueConstraint("tenant_id", "id", name="uq_notifications_id"),
    )
    op.create_index("ix_notifications_created_at", "notifications", ["tenant_id", "user_id", "created_at", "id"])
    enable_tenancy(op, "notifications", service="chat")
