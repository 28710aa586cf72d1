"""What a database error means for the caller of a service."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.data.placement.migration import MOVED_SQLSTATE
from shared.problems import DatabaseUnavailable, InvalidInput, Problem, ServiceUnavailable

# A lost server shows as any of these, depending on where the connection breaks.
_LOST = (
    *(ConnectionError, TimeoutError, OSError, PoolTimeout, asyncpg.PostgresConnectionError),
    *(asyncpg.InterfaceError, asyncpg.InternalClientError),  # the driver's own, about a connection that has broken
)
# What a failed connection raises where no engine wraps it in a DBAPIError; its cause is asyncpg's own error.
_UNWRAPPED = AsyncAdapt_asyncpg_dbapi.Error
_LOST_SQLSTATES = ("08", "53", "57", "58")  # connection, resources, operator intervention, system error
_RETRY_SQLSTATES = ("40001", "40P01", "55P03", "25P03")  # serialization, deadlock, lock not available, idle too long
_INPUT_SQLSTATES = ("22", "54001")  # data exception, statement too complex: the last net below validation


def sqlstate_of(error: BaseException) -> str:
    """The SQLSTATE that PostgreSQL gave, or an empty string where the server never answered."""
    origin = getattr(error, "orig", None) or error
    return getattr(origin, "sqlstate", None) or getattr(origin.__cause__, "sqlstate", None) or ""


def violates(error: IntegrityError, constraint: str) -> bool:
    """Whether it is this constraint (or unique index) that the statement broke."""
    cause = error.orig.__cause__ if error.orig else None
    return getattr(cause, "constraint_name", None) == constraint


def problem_of(error: BaseException) -> Problem | None:
    """The problem that a database error means to the caller; None for an error of this program."""
    state = sqlstate_of(error)
    if state == MOVED_SQLSTATE:
        return ServiceUnavailable("The tenant's data has just moved; nothing was changed.")
    if state in _RETRY_SQLSTATES:
        return ServiceUnavailable("The object is being changed by other requests; nothing was changed.")
    if state.startswith(_INPUT_SQLSTATES):
        return InvalidInput("A value is outside the range that can be stored.")
    if state.startswith(_LOST_SQLSTATES) or isinstance(error, _LOST) or _is_closed(error, state):
        return DatabaseUnavailable()
    lost = isinstance(error, DBAPIError) and (error.connection_invalidated or isinstance(error.orig, _LOST))
    return DatabaseUnavailable() if lost else None


def _is_closed(error: BaseException, state: str) -> bool:
    """Whether the database accepts no connections now (ALTER DATABASE … ALLOW_CONNECTIONS false): no statement ran."""
    if state != "55000":
        return False
    return isinstance(error, _UNWRAPPED) or (isinstance(error, DBAPIError) and error.statement is None)


@contextmanager
def translated() -> Iterator[None]:
    """Turn a database error that leaves the block into the problem it is."""
    try:
        yield
    except (DBAPIError, asyncpg.PostgresError, _UNWRAPPED, *_LOST) as error:
        if (problem := problem_of(error)) is not None:
            raise problem from error
        raise
