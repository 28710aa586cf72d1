"""The tenants whose rows are to be deleted, because users-service has erased them."""

from alembic import op

from shared.events.tenant_erasure import create_erased_tenants_table

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    create_erased_tenants_table(op)


def downgrade() -> None:
    op.drop_table("erased_tenants")
