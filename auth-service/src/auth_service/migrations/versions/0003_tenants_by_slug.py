"""Whether a page's origin is a tenant's subdomain is looked up by slug."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_tenants_slug", "tenants", ["slug"])
