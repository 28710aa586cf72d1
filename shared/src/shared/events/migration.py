"""The outbox and the inbox as a migration makes them, the same in every service."""

from types import ModuleType

import sqlalchemy as sa
from alembic.operations import Operations

from shared.events.models import InboxRow, OutboxRow


def create_event_tables(op: Operations | ModuleType) -> None:
    """Create both tables as they were when the first services shipped; a later change is a migration of its own."""
    for model in (OutboxRow, InboxRow):
        table = model.__table__
        assert isinstance(table, sa.Table)  # noqa: S101 - a mapped class with a table name has one
        op.create_table(table.name, *(column.copy() for column in table.columns))
        for index in table.indexes:
            op.create_index(index.name, table.name, [c.name for c in index.columns], **index.dialect_kwargs)
