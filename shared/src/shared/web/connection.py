"""A client's connection, at the gateway and at every service: uvicorn's HTTP/1.1 protocol plus deadlines and limits.

httptools parses the requests of a connection one after another, pipelined or not. A request that two servers could
parse differently (request smuggling) is rejected here (bytes) or in the gateway's arrival.py (headers and paths).
An application finds the connection as scope["extensions"]["flotilla.connection"].
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

import httptools
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from shared.web.cut_off import cut_off_quietly

EXTENSION: Final = "flotilla.connection"

REJECTED = Counter(
    "flotilla_http_rejected_total",
    "Connections closed because of a malformed, oversized or late request.",
    ["status"],
)

HEAD_S: Final = 10.0  # deadline for a request's headers or a WebSocket handshake
_HEAD_BYTES: Final = 64 * 1024
_CLOSE: Final = (b"connection", b"close")
_LINGER_S: Final = 2.0  # how long the rest of a body is discarded after an early response: a reset would lose it
_AWAITED_BYTES: Final = 64 * 1024  # a body up to this size is read after an early response, and the connection kept


class RequestRejected(Exception):
    """Raised through the parser: the connection is answered with `status` and closed."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _HeadWithBody:
    """The transport of one response: its head leaves with what follows at once, in one packet and one system call.

    A head without a body yet, such as a stream's, leaves before the event loop waits.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head: bytes | None = None
        self._began = False

    def write(self, data: bytes) -> None:
        if not self._began:
            self._began, self._head = True, data
            self._loop.call_soon(self.flush)
        elif self._head is not None:
            whole, self._head = self._head + data, None
            self._transport.write(whole)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def flush(self) -> None:
        """Send a head that is held, if there is one."""
        head, self._head = self._head, None
        if head is not None and not self._transport.is_closing():
            self._transport.write(head)


class HttpProtocol(HttpToolsProtocol):
    """One client connection. If the application sets `task`, a client that disconnects cancels it.

    uvicorn's `cycle` is the request that was parsed last; `responding` is the one being answered. They differ while
    pipelined requests wait.
    """

    lost = False
    task: "asyncio.Task[None] | None" = None
    deadline: float | None = None
    responding: RequestResponseCycle | None = None
    _pending_bytes = 0
    """Received since the last complete head or body piece: an unfinished head, chunk extensions, trailers."""
    _message_complete = True
    _discarding = False
    _sending: "_HeadWithBody"

    @property
    def busy(self) -> bool:
        """Whether a response is owed or in progress."""
        return self.responding is not None and not self.responding.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.deadline = self.loop.time() + HEAD_S

    def connection_lost(self, exc: Exception | None) -> None:
        """End every request that is in progress; uvicorn ends the one that was parsed last."""
        self.lost = True
        super().connection_lost(exc)
        self.pipeline.clear()
        if self.responding is not None and self.busy:
            self.responding.disconnected = True
            self.responding.message_event.set()
            if self.task is not None:
                self.task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._discarding and self._message_complete:
            return
        self._unset_keepalive_if_required()
        self._pending_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._reject(cause.status if isinstance(cause, RequestRejected) else 400)
            return
        if self._pending_bytes > _HEAD_BYTES:
            self._reject(431)
        elif self.deadline is None and self._message_complete and not self.busy:  # the bytes began no request
            self.deadline = self.loop.time() + self.timeout_keep_alive

    def _parse(self, data: bytes) -> None:
        """Parse all of `data`.

        An upgrade to an unsupported protocol is ignored (RFC 9110, section 7.8). The parser stops after such a head,
        even when the request has a body, so it is given the head again without `Upgrade`.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self._open_socket()
                    return
                data = self._head_without_upgrade() + data[upgrade.args[0] :]

    @property
    def _unsupported_upgrade(self) -> bool:
        """Whether the parsed head asks to upgrade to a protocol other than WebSocket."""
        return self.parser.should_upgrade() and not self._should_upgrade()

    def _head_without_upgrade(self) -> bytes:
        line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([line, *lines, b"", b""])

    def _open_socket(self) -> None:
        if self.busy:  # its response would mix with the handshake's
            self.abort()
        else:
            self.handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        if self._discarding:
            raise RequestRejected(400)
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]  # our own extension
        self.deadline = self.loop.time() + HEAD_S
        self._message_complete = False

    def on_headers_complete(self) -> None:
        if self._pending_bytes > _HEAD_BYTES and self._head_bytes() > _HEAD_BYTES:
            raise RequestRejected(431)
        if not self.url.startswith((b"/", b"*")) and not self._target_names_host():
            raise RequestRejected(400)
        if self._unsupported_upgrade:
            if self.parser.get_method() == b"CONNECT":
                raise RequestRejected(400)
            return
        self.deadline = None
        self._pending_bytes = 0
        self.scope["headers"] = self.headers.copy()  # the parser appends trailers to its own list
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            _send_unchunked(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._pending_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._unsupported_upgrade:
            return
        self._pending_bytes = 0
        self._message_complete = True
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.responding = cycle
        self._sending = _HeadWithBody(self.transport, self.loop)
        cycle.transport = self._sending  # type: ignore[assignment]  # all that a cycle calls
        super()._start_asgi_task(cycle, cut_off_quietly(app, self.abort))

    def on_response_complete(self) -> None:
        read_last = self.responding is self.cycle
        self._sending.flush()  # the answer to a HEAD has nothing else
        super().on_response_complete()
        if not read_last or self.transport.is_closing():
            return
        if self._discarding:
            self.transport.write_eof()
        if self._discarding or not self._message_complete:
            self.loop.call_later(_LINGER_S, self._stop_lingering, self.cycle)

    def _stop_lingering(self, cycle: object) -> None:
        if self.cycle is cycle and (self._discarding or not self._message_complete):
            self.transport.close()

    def _head_bytes(self) -> int:
        """The size of the parsed head; the packets may hold more than the head."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _target_names_host(self) -> bool:
        """Whether an absolute target (RFC 9112, section 3.2.2) names the same host as the Host header."""
        authority = self.url.partition(b"://")[2].partition(b"/")[0]
        return any(name == b"host" and value.lower() == authority.lower() for name, value in self.headers)

    @property
    def responds_early(self) -> bool:
        """Whether a response that begins now must be the last (RFC 9112, section 9.6): the body is still to come.

        A short body is awaited, because most clients send it apart from its head. One that waits for `100 Continue` may
        never come: the next request would be read as the body.
        """
        cycle = self.responding
        if cycle is None or cycle is not self.cycle or self._message_complete:
            return False
        declared = next((value for name, value in self.headers if name == b"content-length"), None)
        return cycle.waiting_for_100_continue or declared is None or int(declared) > _AWAITED_BYTES

    def discard_input(self) -> None:
        """Make the response that has begun the last one. Closing at its end, with unread bytes, could lose it."""
        self._discarding = True
        if self.responding is not None:
            self.responding.keep_alive = True  # else uvicorn closes with the response's last byte

    def abort(self) -> None:
        """Close without ending the response, so that the client sees that it is incomplete."""
        if self.responding is not None:
            self.responding.disconnected = True
        self.transport.close()

    def expire(self) -> None:
        """End the connection because its deadline has passed: headers not received, or idle for too long."""
        if self._message_complete and self.responding is not None:
            self.transport.close()
        elif not self.busy:
            self._reject(408)

    def _reject(self, status: int) -> None:
        """Respond with `status` and close. A response in progress is cut off, because nothing may follow inside it."""
        if self._discarding and (self._message_complete or not self.busy):  # nothing follows the last response
            self._message_complete = True
            return
        REJECTED.labels(status).inc()
        if self.busy and (self.responding is not self.cycle or self.cycle.response_started):
            self.abort()
            return
        if self.busy:  # the request's body is malformed
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.write_eof()
        self._discarding = self._message_complete = True
        self.deadline = None
        self.loop.call_later(_LINGER_S, self.transport.close)


def expire(connections: Iterable[object], now: float) -> None:
    """End the connections whose deadline has passed; a server calls this once a second."""
    for one in tuple(connections):
        if isinstance(one, HttpProtocol) and one.deadline is not None and one.deadline < now:
            one.expire()


async def begin_response(
    connection: HttpProtocol | None,
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    start: MutableMapping[str, Any],
) -> None:
    """Send `http.response.start`. Before the end of a long body, the response says that it is the connection's last."""
    if connection is None or not connection.responds_early:
        await send(start)
        return
    if _CLOSE not in start["headers"]:
        start["headers"] = [*start["headers"], _CLOSE]
    await send(start)
    connection.discard_input()


def of(scope: MutableMapping[str, Any]) -> HttpProtocol | None:
    """The connection behind an ASGI scope; None where the server runs with another protocol."""
    found: HttpProtocol | None = scope.get("extensions", {}).get(EXTENSION)
    return found


def has_arrived(scope: MutableMapping[str, Any]) -> bool:
    """Whether the server holds the whole body of the request, unread: `receive` returns it in one message."""
    connection = of(scope)
    cycle = None if connection is None else connection.responding
    return cycle is not None and not cycle.more_body and cycle.message_event.is_set()


def _send_unchunked(cycle: RequestResponseCycle) -> None:
    """End a response without a length by closing: HTTP/1.0 has no chunked coding (RFC 9112, section 6.1)."""
    framed, plain = cycle.send, False

    async def send(message: Any) -> None:
        nonlocal plain
        if message["type"] == "http.response.start":
            plain = not any(name.lower() == b"content-length" for name, _ in message["headers"])
            cycle.chunked_encoding = False if plain else None
        elif plain:
            cycle.expected_content_length = len(message.get("body", b""))
        await framed(message)

    cycle.send = send  # type: ignore[method-assign]  # uvicorn sends chunks to any client
