"""People, tenants, memberships, profiles and files."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.data.placement.migration import shared_tables
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
    _people()
    _profiles()
    _files()
    _removals()


@shared_tables
def _people() -> None:
    create_event_tables(op)
    create_idempotency_table(op, service="users")
    op.create_table(
        "people",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_people"),
    )
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), server_default="free", nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("changed_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenants"),
        sa.UniqueConstraint("slug", name="uq_tenants_slug"),
        sa.CheckConstraint("tier IN ('free', 'premium', 'enterprise')", name="ck_tenants_tier"),
        sa.CheckConstraint("status IN ('active', 'suspended')", name="ck_tenants_status"),
    )
    op.create_index("ix_tenants_changed_at", "tenants", ["changed_at"])
    enable_tenancy(op, "tenants", service="users", fleet=True)
    op.create_table(
        "memberships",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("changed_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", name="pk_memberships"),
        sa.UniqueConstraint("id", name="uq_memberships_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_memberships_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["people.user_id"], name="fk_memberships_user_id"),
        sa.CheckConstraint("status IN ('invited', 'active', 'suspended', 'ended')", name="ck_memberships_status"),
    )
    op.create_index(
        "ix_memberships_tenant_id_created_at_user_id", "memberships", ["tenant_id", "created_at", "user_id"]
    )
    op.create_index("ix_memberships_user_id", "memberships", ["user_id"])
    op.create_index("ix_memberships_changed_at", "memberships", ["changed_at"])
    enable_tenancy(op, "memberships", service="users", fleet=True)


def _profiles() -> None:
    op.create_table(
        "profiles",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("bio", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", name="pk_profiles"),
    )
    enable_tenancy(op, "profiles", service="users")


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_files"),
        sa.UniqueConstraint("id", name="uq_files_id"),
    )
    op.create_index("ix_files_tenant_id_owner_id_created_at", "files", ["tenant_id", "owner_id", "created_at"])
    op.create_index("ix_files_tenant_id_created_at", "files", ["tenant_id", "created_at"])
    enable_tenancy(op, "files", service="users")


@shared_tables
def _removals() -> None:
    op.create_table(
        "object_removals",
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("object_key", name="pk_object_removals"),
    )
    op.create_index("ix_object_removals_due_at", "object_removals", ["due_at"])
