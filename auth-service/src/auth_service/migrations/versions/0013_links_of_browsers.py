"""Links that are good in the browser that asked for them."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("links", sa.Column("browser", sa.LargeBinary(), nullable=True))
    op.add_column("links", sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("ix_links_browser", "links", ["browser"])


def downgrade() -> None:
    op.drop_column("links", "failures")
    op.drop_column("links", "browser")
