"""uvicorn without its ten looks a second: an idle process sleeps. What outlasts the drain ends without an error."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

import structlog
import uvicorn

from shared.web.connection import expire

_TICK_S: Final = 1.0  # the Date header's resolution
_CUT_OFF_S: Final = 2.0  # how long cancelled requests may clean up, such as roll back, before the lifespan ends

log = structlog.get_logger(__name__)


class QuietServer(uvicorn.Server):
    """uvicorn's server, which looks once a second, and at once when it is asked to stop."""

    drain_look_s = 0.1
    """How often the drain looks whether the open requests have ended."""

    def __init__(self, config: uvicorn.Config) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """The loop that serves; None before it does."""
        self._stopping, self._should_exit = asyncio.Event(), False
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        if value and self.loop is not None:
            self.loop.call_soon_threadsafe(self._stopping.set)  # a signal's handler may have interrupted anything

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def main_loop(self) -> None:
        """Close the connections whose deadline has passed, as well as what uvicorn does at each tenth tick."""
        while not await self.on_tick(0):
            expire(self.server_state.connections, asyncio.get_running_loop().time())
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but requests that outlast the drain have ended before the lifespan does."""
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in tuple(self.server_state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                await self._drained()
        if not self.force_exit:
            await self._cut_off()
            await self.lifespan.shutdown()

    async def _drained(self) -> None:
        state = self.server_state
        while (state.connections or state.tasks) and not self.force_exit:  # noqa: ASYNC110 - these sets have no event
            await asyncio.sleep(self.drain_look_s)

    async def _cut_off(self) -> None:
        """Cancel the requests that are in progress; the protocols close their connections."""
        tasks = tuple(self.server_state.tasks)
        if not tasks:
            return
        log.warning("requests_cut_off", requests=len(tasks))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_CUT_OFF_S)
