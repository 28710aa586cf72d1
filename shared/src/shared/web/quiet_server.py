"""uvicorn without its ten looks a second: an idle process sleeps."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

import uvicorn

from shared.web.connection import expire

_TICK_S: Final = 1.0  # the Date header's resolution


class QuietServer(uvicorn.Server):
    """uvicorn's server, which looks once a second, and at once when it is asked to stop."""

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
