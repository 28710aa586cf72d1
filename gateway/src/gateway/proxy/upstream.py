"""The interface to upstream HTTP and WebSocket clients. Implementations are chosen by measurement and may change."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.http.headers import Headers


class UpstreamError(Exception):
    """A request to an upstream failed; the subclass says how."""


class UpstreamUnreachable(UpstreamError):
    """The connection failed, so nothing was sent."""


class UpstreamBroken(UpstreamError):
    """The connection was lost, or the response was not valid HTTP; the request may have been processed."""


class UpstreamTimedOut(UpstreamError):
    """The exchange exceeded its time limit; the request may have been processed."""


@dataclass(slots=True)
class UpstreamRequest:
    """A request as it is sent.

    `target` is the raw path and query, never decoded. `body` is None without one, bytes if all of it has been received,
    otherwise its pieces as they arrive; `content_length` is then their total, or None for a chunked body.
    `timeout_s` limits the whole exchange; None, for a stream, limits each silence instead.
    """

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes | AsyncIterator[bytes] | None
    content_length: int | None
    timeout_s: float | None


class UpstreamResponse(Protocol):
    """A response whose head has arrived; its body is read piece by piece, without decoding."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers:
        """As received: order, duplicates and bytes are kept."""

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end. Buffers a bounded amount.

        Raises UpstreamBroken if the body is incomplete, and UpstreamTimedOut.
        """

    def close(self) -> None:
        """End the exchange. A connection whose response was read to the end is kept for reuse; others are closed."""


class SocketClosed(Exception):
    """The WebSocket is closed. `code` is the peer's, or 1006 if the connection was lost without a close frame."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class UpstreamSocket(Protocol):
    """An open WebSocket to an upstream. What is sent waits while the upstream does not read."""

    async def receive(self) -> str | bytes:
        """The next message. Raises SocketClosed."""

    async def send(self, message: str | bytes) -> None:
        """Raises SocketClosed."""

    async def ping(self, payload: bytes) -> None:
        """Raises SocketClosed."""

    async def pong(self, payload: bytes) -> None:
        """Raises SocketClosed."""

    def forward_control_frames(self, on_ping: Callable[[bytes], None], on_pong: Callable[[bytes], None]) -> None:
        """Pass on the upstream's pings, which nothing here answers, and its pongs."""

    async def close(self, code: int, reason: str = "") -> None: ...

    def abort(self) -> None:
        """Close the connection without a close frame."""


class HandshakeRefused(UpstreamError):
    """The upstream refused the handshake with an HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class OpenSocket(Protocol):
    """Opens WebSockets to upstreams."""

    async def __call__(self, url: str, headers: list[tuple[bytes, bytes]], subprotocol: str) -> UpstreamSocket:
        """Raises UpstreamError; HandshakeRefused if the upstream responded with a status."""


class UpstreamClient(Protocol):
    """Sends requests over a pool of kept-alive connections.

    If the upstream closed an idle connection, an idempotent request without a streamed body is sent a second time.
    Cancelling a call closes its connection.
    """

    async def send(self, request: UpstreamRequest, origin: str) -> UpstreamResponse:
        """Send to the replica at the base URL `origin`; return when the response's head arrives. Raises UpstreamError.

        After UpstreamUnreachable none of the body was consumed, so the same request may be sent to another replica.
        """

    async def close(self) -> None: ...
