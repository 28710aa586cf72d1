"""What the forwarder asks of an HTTP client. The client is chosen by measurement; this interface and its tests stay."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from gateway.http.headers import Headers


class UpstreamError(Exception):
    """The service behind the gateway did not do its part; the subclasses say what is known."""


class UpstreamUnreachable(UpstreamError):
    """No connection could be made, so nothing was sent."""


class UpstreamBroken(UpstreamError):
    """The connection was lost, or its bytes were no HTTP; whether the request was acted upon is unknown."""


class UpstreamTimedOut(UpstreamError):
    """The exchange lasted longer than it may; whether the request was acted upon is unknown."""


@dataclass(slots=True)
class UpstreamRequest:
    """A request as it goes on the wire.

    `target` is the raw path and query, never decoded. `body` is None for a request without one, bytes where all of it
    is here already, else its pieces as they arrive: `content_length` is then their sum, or None for a chunked body.
    `timeout_s` bounds the whole exchange; None does not.
    """

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes | AsyncIterator[bytes] | None
    content_length: int | None
    timeout_s: float | None


class UpstreamResponse(Protocol):
    """An answer whose head has arrived and whose body is read piece by piece, undecoded."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers:
        """As they came: order, duplicates and bytes kept."""

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end. Reads no further ahead than a bounded buffer.

        Raises UpstreamBroken when the body breaks off before its end, UpstreamTimedOut.
        """

    def close(self) -> None:
        """End the exchange. A connection whose answer was read to its end is kept for the next; any other is cut."""


class SocketClosed(Exception):
    """The WebSocket is closed; `code` is the peer's, 1006 where the connection was lost without one."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class UpstreamSocket(Protocol):
    """An open WebSocket to an upstream. Sending waits while the upstream does not read; so does its sender, unread."""

    async def receive(self) -> str | bytes:
        """The next message. Raises SocketClosed."""

    async def send(self, message: str | bytes) -> None:
        """Raises SocketClosed."""

    async def close(self, code: int, reason: str = "") -> None: ...

    def abort(self) -> None:
        """Cut the connection, as the client's was."""


class HandshakeRefused(UpstreamError):
    """The upstream answered the handshake with an HTTP status instead of a socket."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class OpenSocket(Protocol):
    """Opens WebSockets to upstreams."""

    async def __call__(self, url: str, headers: list[tuple[bytes, bytes]], subprotocol: str) -> UpstreamSocket:
        """Raises UpstreamError, HandshakeRefused among them."""


class UpstreamClient(Protocol):
    """Sends requests over connections that it keeps alive.

    A connection that the upstream closed while it was idle costs no request that may be repeated: one that is
    idempotent and has no body in pieces is sent once more. Cancelling a call cuts its connection.
    """

    async def send(self, request: UpstreamRequest, origin: str) -> UpstreamResponse:
        """Send to the service at the base URL `origin`; returns when the answer's head is there. Raises UpstreamError.

        After UpstreamUnreachable none of the body was taken, so the same request may be sent elsewhere.
        """

    async def close(self) -> None: ...
