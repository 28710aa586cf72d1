"""Which schema this release ships, and which one a database has: what `/readyz` compares, without Alembic.

Alembic and its template engine cost every process 0.1 CPU-s, and only `migrate` and `db check` need them.
"""

import ast
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


class SeveralHeads(Exception):
    """Two migrations follow the same one: a merge is missing."""


class TenantsNotMigrated(Exception):
    """The shared tables are at head, but the schemas of some tenants are not; the message names each with its error."""


def head(folder: Path) -> str | None:
    """The newest revision in `folder`: the one that no other follows. None when it has no migrations."""
    found = [_assigned(path) for path in sorted((folder / "versions").glob("*.py"))]
    followed = {before for values in found for before in _as_tuple(values["down_revision"])}
    heads = [values["revision"] for values in found if values["revision"] not in followed]
    if len(heads) > 1:
        raise SeveralHeads(", ".join(heads))
    return heads[0] if heads else None


def _assigned(path: Path) -> dict[str, Any]:
    """The module's `revision` and `down_revision`, read without running it."""
    values: dict[str, Any] = {"down_revision": None}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                if name in ("revision", "down_revision"):
                    values[name] = ast.literal_eval(value)
    return values


def _as_tuple(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """A migration follows none, one, or, when it merges, several."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


async def current(engine: AsyncEngine) -> str | None:
    """The revision that the database is at; None when it was never migrated."""
    async with engine.connect() as connection:
        if not await connection.scalar(text("SELECT to_regclass('public.alembic_version') IS NOT NULL")):
            return None
        revision: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision
