"""Dead connections leave the pools before a request gets one.

asyncpg notices a connection that the server closed, and each is checked as it is taken out of its pool. A server behind
a cut network closes nothing: there the first time-out counts. Either way one dead connection puts all older ones in
doubt, in the pools of every role, and each is replaced when it is taken out.
"""

from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

_OPENED_AFTER: Final = "flotilla_outages"


class Connections:
    """Follows the connections of a process's pools."""

    def __init__(self) -> None:
        self._outages = 0

    def follow(self, engine: AsyncEngine) -> None:
        """Check the connections of `engine` from now on."""
        event.listen(engine.sync_engine, "connect", self._opened)
        event.listen(engine.sync_engine, "checkout", self._check)
        event.listen(engine.sync_engine, "handle_error", self._failed)

    def doubt(self) -> None:
        """Replace every connection that is open now, before it is used again."""
        self._outages += 1

    def _opened(self, _connection: Any, entry: ConnectionPoolEntry) -> None:
        entry.info[_OPENED_AFTER] = self._outages

    def _check(self, connection: Any, entry: ConnectionPoolEntry, _checked_out: object) -> None:
        """Raises DisconnectionError, on which SQLAlchemy opens another connection in its place."""
        current = entry.info[_OPENED_AFTER] == self._outages
        if current and not connection.driver_connection.is_closed():
            return
        if current:
            self.doubt()
        connection.driver_connection.terminate()  # a graceful close would wait for a server that may be silent
        raise DisconnectionError("the connection may be dead")

    def _failed(self, context: ExceptionContext) -> None:
        error = context.original_exception
        if isinstance(error, TimeoutError) or (context.is_disconnect and isinstance(error, Exception)):
            self.doubt()
