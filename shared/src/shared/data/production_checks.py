"""Databases that a process must not run on; shared/settings/service.py checks what the settings show.

Checked before production starts, and by `/readyz` until all checks have passed once. An unavailable server does not
prevent the start, but the process is not ready before it was checked.
"""

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from shared.data.database import Database
from shared.data.policies import passes_by
from shared.data.revisions import current, head
from shared.problems import ServiceUnavailable

Refusal = Callable[[Database], Awaitable[None]]
"""Looks at a migrated database. Raises Unfit."""


class Unfit(Exception):
    """The database is one that this process must not run on; the message says why, and what to do."""


class LoginTooStrong(Unfit):
    """The login of DATABASE_URL could go around row-level security."""


async def refuse_strong_login(database: Database) -> None:
    """In every environment: what a developer's login hides would only show in production."""
    async with database.engine().connect() as connection:
        if await passes_by(connection):
            raise LoginTooStrong(
                "The login of DATABASE_URL owns tables or bypasses row-level security; use one from `db create`"
            )


async def reasons(database: Database, migrations: Path, refusals: Iterable[Refusal]) -> list[str]:
    """Every reason against this database; none while it is unavailable or not migrated."""
    found = []
    try:
        if await current(database.engine()) == head(migrations):
            for refuse in refusals:
                try:
                    await refuse(database)
                except Unfit as unfit:
                    found.append(str(unfit))
    except (DBAPIError, OSError, TimeoutError, ServiceUnavailable):
        return found
    return found
