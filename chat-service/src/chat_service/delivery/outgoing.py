"""What a connection still has to send: bounded in bytes, written together; a client that does not read is closed."""

import asyncio
from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import orjson
from prometheus_client import Counter

from chat_service.settings import SocketSettings
from shared.web.sockets import SocketProtocol, text_frame

CLOSED = Counter("flotilla_chat_closed_total", "Connections that the server closed, by code.", ["code"])

_HISTORY_AHEAD_BYTES = 64 * 1024  # history is written this far ahead of its reader, so catching up never looks slow


class Close(IntEnum):
    """Why a connection ends, as the client sees it."""

    BINARY = 1003
    NOT_UNDERSTOOD = 4000
    TOKEN_ENDED = 4001
    FORBIDDEN = 4003
    TOO_SLOW = 4008
    TOO_MANY_MESSAGES = 4029


def encoded(frame: Mapping[str, Any]) -> bytes:
    """The frame as it goes over the wire: made once, written to every connection."""
    return text_frame(orjson.dumps(frame))


class Outgoing:
    """Frames that wait for the peer to read.

    What is put in one turn of the event loop goes out in one write. A peer that leaves `max_pending_bytes` unread, or
    takes nothing for `stalled_s` while something waits, is too slow.
    """

    def __init__(self, protocol: SocketProtocol, limits: SocketSettings) -> None:
        self._protocol, self._limits = protocol, limits
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._scheduled = False
        self._stall: asyncio.TimerHandle | None = None
        self._drained: list[asyncio.Future[None]] = []
        protocol.on_writable = self._writable
        protocol.bound(
            send_buffer_bytes=limits.send_buffer_bytes, unacknowledged_s=limits.heartbeat_s + limits.answer_s
        )

    @property
    def ended(self) -> bool:
        return self._protocol.ended

    def put(self, frame: bytes) -> None:
        """Send `frame` after those that wait. Never blocks; without effect once the connection ends."""
        if self._protocol.ended:
            return
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > self._limits.max_pending_bytes:
            if self._protocol.can_write:
                self._flush()
            else:
                self.close(Close.TOO_SLOW)
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    @property
    def congested(self) -> bool:
        """Whether the peer has not yet taken what was put before: history waits then."""
        return not self._protocol.can_write or self._waiting_bytes > _HISTORY_AHEAD_BYTES

    async def drained(self) -> None:
        """Wait until the peer has taken what was put; returns as well when the connection ends."""
        while not self._protocol.ended and (self._waiting or not self._protocol.can_write):
            waiter = self._loop.create_future()
            self._drained.append(waiter)
            await waiter

    def close(self, code: int, reason: str = "") -> None:
        """Close with `code`, after what was written and without what still waits for a peer that does not read."""
        if self._protocol.ended:
            return
        CLOSED.labels(str(int(code))).inc()
        if self._protocol.can_write:
            self._flush()
        self._forget()
        self._protocol.end(code, reason or (code.name.lower() if isinstance(code, Close) else ""))

    def abandon(self) -> None:
        """The connection is gone: let go of everything that waits for it."""
        self._protocol.on_writable = None
        self._forget()

    def _flush(self) -> None:
        self._scheduled = False
        if self._waiting and self._protocol.can_write:
            self._protocol.put(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
        if not self._protocol.can_write and not self._protocol.ended and self._stall is None:
            self._stall = self._loop.call_later(self._limits.stalled_s, self.close, Close.TOO_SLOW)
        self._wake()

    def _writable(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        self._flush()

    def _forget(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        self._wake(force=True)

    def _wake(self, *, force: bool = False) -> None:
        if force or self._protocol.ended or (not self._waiting and self._protocol.can_write):
            for waiter in self._drained:
                if not waiter.done():
                    waiter.set_result(None)
            self._drained.clear()
