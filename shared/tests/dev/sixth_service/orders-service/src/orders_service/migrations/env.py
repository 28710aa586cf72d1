"""Alembic's entry: the connection and the options are shared's."""

from shared.data.migrations import run

run()
