"""The form in which public rooms' names are unique.

Of rooms that have different names but one form, the oldest takes the form, and the others keep their names without it.
The index on lower(name) stays for the release before this one, which does not write the form.
"""

import sqlalchemy as sa
from alembic import op

from shared.text import folded

revision = "0003"
down_revision = "0002"

_ROOMS = sa.table("rooms", *map(sa.column, ("tenant_id", "id", "kind", "name", "name_key", "created_at")))


def upgrade() -> None:
    op.add_column("rooms", sa.Column("name_key", sa.Text(), nullable=True))
    _fill()
    op.create_index(
        "uq_rooms_public_name_key",
        "rooms",
        ["tenant_id", "name_key"],
        unique=True,
        postgresql_where=sa.text("kind = 'public'"),
    )


def _fill() -> None:
    connection, taken = op.get_bind(), set()
    public = sa.select(_ROOMS).where(_ROOMS.c.kind == "public").order_by(_ROOMS.c.created_at, _ROOMS.c.id)
    for room in connection.execute(public).all():
        key = folded(room.name)
        if (room.tenant_id, key) not in taken:
            taken.add((room.tenant_id, key))
            same = (_ROOMS.c.tenant_id == room.tenant_id, _ROOMS.c.id == room.id)
            connection.execute(sa.update(_ROOMS).where(*same).values(name_key=key))


def downgrade() -> None:
    op.drop_index("uq_rooms_public_name_key", "rooms")
    op.drop_column("rooms", "name_key")
