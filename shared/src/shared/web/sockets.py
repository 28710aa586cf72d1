"""uvicorn's WebSocket protocol with what a server that pushes needs: prebuilt frames, back-pressure, an end that ends.

An application finds the connection's `SocketProtocol` as scope["extensions"]["flotilla.socket"]. Writing through ASGI
waits for a reader that may never read, and so does uvicorn's close: here a close that cannot be flushed is an abort.
"""

import logging
import socket
from asyncio.transports import BaseTransport
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

EXTENSION: Final = "flotilla.socket"
FLUSH_S: Final = 2.0  # how long a peer gets to read what was written before the close, once we are through with it
LINGER_S: Final = 1.0  # how long we read on after refusing a frame, so that the refusal is not lost in a reset


def text_frame(payload: bytes) -> bytes:
    """A whole text message from server to client (RFC 6455, section 5.2): the same bytes for every connection."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


_log = logging.getLogger("shared.web.sockets")
_log.setLevel(logging.WARNING)  # uvicorn logs each handshake with its whole URL, tickets included


class SocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection. `on_writable` is called when the peer has caught up with its reading."""

    on_writable: Callable[[], None] | None = None
    _lingering = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = self.conn.logger = _log

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=64 * 1024, low=16 * 1024)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            cast(dict[str, Any], self.scope["extensions"])[EXTENSION] = self

    @property
    def can_write(self) -> bool:
        """Whether the peer reads about as fast as we write."""
        return self.writable.is_set() and not self.ended

    @property
    def ended(self) -> bool:
        """Whether nothing more will be sent: a close was sent or received, or the transport is closing."""
        return self.close_sent or self.disconnected or self.transport.is_closing()

    def put(self, frames: Iterable[bytes]) -> None:
        """Write whole frames in one system call. Without effect once the connection ends."""
        if not self.ended and self.conn.state is State.OPEN:
            self.transport.write(b"".join(frames))

    def bound(self, *, send_buffer_bytes: int, unacknowledged_s: float) -> None:
        """Cap what the kernel holds for a peer that does not read, and how long it waits for one that is gone."""
        held: socket.socket | None = self.transport.get_extra_info("socket")
        if held is None or held.family not in (socket.AF_INET, socket.AF_INET6):
            return
        held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            held.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unacknowledged_s * 1000))

    def keep_alive(self, interval_s: float, answer_s: float) -> None:
        """Ping every `interval_s` and drop a peer that does not answer within `answer_s`, instead of uvicorn's own."""
        self.stop_keepalive()
        self.ping_interval, self.ping_timeout = interval_s, answer_s
        self.start_keepalive()

    async def send(self, message: Any) -> None:
        """As in ASGI; but a close does not wait."""
        if message["type"] == "websocket.close" and self.handshake_complete:
            self.end(message.get("code", 1000), message.get("reason") or "")
            return
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # else uvicorn logs that the application forgot its answer

    def end(self, code: int, reason: str = "") -> None:
        """Close with `code`; a peer that has not read that far within FLUSH_S is dropped. Safe to repeat."""
        if self.ended or self.conn.state is not State.OPEN:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(FLUSH_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.handshake_complete = False  # makes uvicorn report 1006; 1005 would be a close frame without a code
        super().connection_lost(exc)
        if self.on_writable is not None:
            self.on_writable()

    def data_received(self, data: bytes) -> None:
        """uvicorn leaves a handshake that cannot be read without an answer and without an end: not so here."""
        if self._lingering:
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            answer = b"".join(self.conn.data_to_send())
            self.transport.write(
                answer or b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()

    def handle_ping(self) -> None:
        """Answer, unless the peer does not read: its pings would fill the memory with pongs."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """The peer is gone: a close would wait for it to read."""
        self.pong_timer = self.pending_ping_payload = None
        self.transport.abort()

    def handle_parser_exception(self) -> None:
        """Say what was wrong with the frame, then read on for a moment.

        Closing with unread bytes makes the kernel send a reset, which discards the close code on its way.
        """
        sent = self.conn.close_sent
        code, reason = (1002, "") if sent is None else (sent.code, sent.reason)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self._lingering = True
        self.stop_keepalive()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.abort)

    def shutdown(self) -> None:
        """Close with 1012; a client that does not read is dropped."""
        super().shutdown()
        self.loop.call_later(FLUSH_S, self.transport.abort)


def of(scope: Any) -> SocketProtocol:
    """The connection behind an ASGI scope; the server must run with ws=SocketProtocol."""
    found: SocketProtocol = scope["extensions"][EXTENSION]
    return found
