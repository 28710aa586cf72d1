"""A client's connection: uvicorn's protocol with the deadlines and bounds that it lacks.

Requests come by httptools' parser, one after another on a connection, pipelined or not. What two servers could read as
two different requests is turned away here (bytes) or in arrival.py (headers and paths).
"""

import asyncio
from typing import Any, Final

import httptools
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

TURNED_AWAY = Counter(
    "flotilla_gateway_turned_away_total", "Connections ended because what came was no request.", ["status"]
)

HEAD_S: Final = 10.0  # a request's headers, or a handshake, are whole by then or the connection goes
KEEP_ALIVE_S: Final = 75
_HEAD_BYTES: Final = 64 * 1024
_LINGER_S: Final = 2.0  # how long a body is thrown away that an early answer made useless, so that the answer is read


class TurnedAway(Exception):
    """Raised to the parser: what has come is no request that we read."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class EdgeProtocol(HttpToolsProtocol):
    """One client connection. The request under way is cancelled when the client is gone.

    uvicorn's `cycle` is the request that was read last; `answering` is the one being answered, which pipelined ones
    wait for.
    """

    lost = False
    task: "asyncio.Task[None] | None" = None
    due: float | None = None
    answering: RequestResponseCycle | None = None
    _loose_bytes = 0
    """What came since a head or a piece of a body was whole: a head in the making, chunk extensions, trailers."""
    _whole = True
    _hanging_up = False

    @property
    def busy(self) -> bool:
        """Whether an answer is owed or under way."""
        return self.answering is not None and not self.answering.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.due = self.loop.time() + HEAD_S

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        super().connection_lost(exc)
        if self.task is not None and self.busy:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._hanging_up and self._whole:
            return
        self._unset_keepalive_if_required()
        self._loose_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._turn_away(cause.status if isinstance(cause, TurnedAway) else 400)
            return
        if self._loose_bytes > _HEAD_BYTES:
            self._turn_away(431)
        elif self.due is None and self._whole and not self.busy:  # what came began no request
            self.due = self.loop.time() + KEEP_ALIVE_S

    def _parse(self, data: bytes) -> None:
        """Read on to the end of `data`.

        An upgrade to what we do not speak is passed over (RFC 9110, section 7.8). The parser takes everything after
        such a head for the other protocol, the request's body too: so it reads the head again, without `Upgrade`.
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
    def _foreign(self) -> bool:
        """Whether the head that was read asks for a protocol that we do not speak."""
        return self.parser.should_upgrade() and not self._should_upgrade()

    def _head_without_upgrade(self) -> bytes:
        line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([line, *lines, b"", b""])

    def _open_socket(self) -> None:
        if self.busy:  # its answer would run into the handshake's
            self.cut()
        else:
            self.handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"flotilla.connection": self}  # type: ignore[dict-item]  # an extension of ours
        self.due = self.loop.time() + HEAD_S
        self._whole = False

    def on_headers_complete(self) -> None:
        if self._loose_bytes > _HEAD_BYTES and self._head_bytes() > _HEAD_BYTES:
            raise TurnedAway(431)
        if not self.url.startswith((b"/", b"*")) and not self._target_names_host():
            raise TurnedAway(400)
        if self._foreign:
            if self.parser.get_method() == b"CONNECT":
                raise TurnedAway(400)
            return
        self.due = None
        self._loose_bytes = 0
        self.scope["headers"] = self.headers.copy()  # the parser adds trailers to its own list: they are no headers
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            _leave_unframed(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._loose_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._foreign:
            return
        self._loose_bytes = 0
        self._whole = True
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        read_last = self.answering is self.cycle
        super().on_response_complete()
        if self._whole or not read_last or self.transport.is_closing():
            return
        if self._hanging_up:
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self._stop_lingering, self.cycle)

    def _stop_lingering(self, cycle: object) -> None:
        if self.cycle is cycle and (self._hanging_up or not self._whole):
            self.transport.close()

    def _head_bytes(self) -> int:
        """The size of the head that was read; a packet may hold more than the head."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _target_names_host(self) -> bool:
        """Whether an absolute target (RFC 9112, section 3.2.2) is for the host that the Host header names."""
        authority = self.url.partition(b"://")[2].partition(b"/")[0]
        return any(name == b"host" and value.lower() == authority.lower() for name, value in self.headers)

    def hang_up(self) -> None:
        """The answer is the last one, and what still comes is thrown away: a close at once would lose the answer."""
        cycle = self.answering
        if cycle is self.cycle and not self._whole and not cycle.response_started:
            cycle.keep_alive = True  # else uvicorn closes with the answer's last byte
            self._hanging_up = True

    def cut(self) -> None:
        """Close without ending the answer, so that the client sees that it is not whole."""
        if self.answering is not None:
            self.answering.disconnected = True
        self.transport.close()

    def expire(self) -> None:
        """The request's headers took too long, or a kept connection too long without one."""
        if self._whole and self.answering is not None:
            self.transport.close()
        elif not self.busy:
            self._turn_away(408)

    def _turn_away(self, status: int) -> None:
        """Answer what is no request, and end. An answer under way is broken off: nothing may run into it."""
        TURNED_AWAY.labels(status).inc()
        if self.busy and (self.answering is not self.cycle or self.cycle.response_started):
            self.cut()
            return
        if self.busy:  # its body is what cannot be read
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.write_eof()
        self._hanging_up = self._whole = True
        self.due = None
        self.loop.call_later(_LINGER_S, self.transport.close)


def _leave_unframed(cycle: RequestResponseCycle) -> None:
    """Make an answer without a length end with its connection: HTTP/1.0 knows no chunks (RFC 9112, section 6.1)."""
    framed, plain = cycle.send, False

    async def send(message: Any) -> None:
        nonlocal plain
        if message["type"] == "http.response.start":
            plain = not any(name.lower() == b"content-length" for name, _ in message["headers"])
            cycle.chunked_encoding = False if plain else None
        elif plain:
            cycle.expected_content_length = len(message.get("body", b""))
        await framed(message)

    cycle.send = send  # type: ignore[method-assign]  # uvicorn frames by chunks whatever the client speaks
