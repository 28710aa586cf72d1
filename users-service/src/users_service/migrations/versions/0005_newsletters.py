"""Whether a member wants newsletters; nobody is subscribed without having asked."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("profiles", sa.Column("newsletter", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("profiles", "newsletter")
