"""uvicorn's WebSocket protocol with what a server that pushes needs: prebuilt frames, back-pressure, an end that ends.

An application finds the connection's `SocketProtocol` as scope["extensions"]["flotilla.socket"]. Writing through ASGI
waits for a reader that may never read, and so does uvicorn's close: here a close that cannot be flushed is an abort.

Reading stops while READ_AHEAD_BYTES of messages wait for the application, or when frames of any kind come faster than
FRAMES_PER_S. Until then pings are answered and pongs are noticed whatever the application waits for; while reading is
stopped, no answer to a ping is due.

A proxy calls `forward_control_frames`: pings and pongs are then messages, so that the two ends answer each other.
"""

import asyncio
import logging
import socket
from asyncio.transports import BaseTransport
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, State

from shared.web.cut_off import cut_off_quietly

EXTENSION: Final = "flotilla.socket"
FLUSH_S: Final = 2.0  # how long a peer gets to read what was written before the close, once we are through with it
LINGER_S: Final = 1.0  # how long we read on after refusing a frame, so that the refusal is not lost in a reset
MAX_MESSAGE_BYTES: Final = 64 * 1024  # of a client's message, in one frame or as the sum of its fragments
READ_AHEAD_BYTES: Final = 64 * 1024  # of messages that the application has not received; then reading stops
FRAMES_PER_S: Final = 1000
FRAMES_AT_ONCE: Final = 2000
_PIECE_BYTES: Final = 4096  # parsed at a time: the work between two looks at the bounds
_MESSAGE_OVERHEAD_BYTES: Final = 256  # per waiting message, besides its text


def text_frame(payload: bytes) -> bytes:
    """A whole text message from server to client (RFC 6455, section 5.2): the same bytes for every connection."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def leave_pings(connection: Protocol, on_ping: Callable[[bytes], None]) -> None:
    """Pass the peer's pings to `on_ping`; websockets itself would answer each at once."""
    receive = connection.recv_frame

    def recv_frame(frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            on_ping(bytes(frame.data))
        else:
            receive(frame)

    connection.recv_frame = recv_frame  # type: ignore[method-assign]  # it has no option for this


_log = logging.getLogger("shared.web.sockets")
_log.setLevel(logging.WARNING)  # uvicorn logs each handshake with its whole URL, tickets included


class SocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection. `on_writable` is called when the peer has caught up with its reading."""

    on_writable: Callable[[], None] | None = None
    unresponsive = False
    """Whether the connection was dropped because its peer did not answer a ping in time."""
    _lingering = False
    _forwards = False
    _forwarded_ping: bytes | None = None
    """The last ping that was sent for another and is unanswered."""
    _pings = 0
    """Received since frames were counted last."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.app = cut_off_quietly(self.app, self._cut_off)
        self.logger = self.conn.logger = _log
        leave_pings(self.conn, self._on_ping)
        self._unparsed, self._message = bytearray(), bytearray()
        self._waiting_bytes = 0
        self._paced_until = 0.0
        self._slowed: asyncio.TimerHandle | None = None

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
        if self.ended or held is None or held.family not in (socket.AF_INET, socket.AF_INET6):
            return
        held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            held.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unacknowledged_s * 1000))

    def keep_alive(self, interval_s: float, answer_s: float) -> None:
        """Ping every `interval_s` and drop a peer that does not answer within `answer_s`, instead of uvicorn's own."""
        self.stop_keepalive()
        self.ping_interval, self.ping_timeout = interval_s, answer_s
        self.start_keepalive()

    def forward_control_frames(self) -> None:
        """Receive the peer's pings and pongs as `websocket.ping` and `websocket.pong`, and answer none of them."""
        self._forwards = True

    def put_ping(self, payload: bytes) -> None:
        """Send another's ping. While reading is stopped, its answer cannot be read: it is reported as given."""
        self._forwarded_ping = payload
        self._put_control(Opcode.PING, payload)
        if self.read_paused:
            self._report_answer()

    def put_pong(self, payload: bytes) -> None:
        """Send another's pong, unless the peer does not read: they would fill the memory."""
        if self.writable.is_set():
            self._put_control(Opcode.PONG, payload)

    def _put_control(self, opcode: Opcode, payload: bytes) -> None:
        self.put((Frame(opcode, payload).serialize(mask=False),))

    def _report_answer(self) -> None:
        if self._forwarded_ping is not None:
            self._message_waits({"type": "websocket.pong", "bytes": self._forwarded_ping})
            self._forwarded_ping = None

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
        self.close_timer = self.loop.call_later(FLUSH_S, self.transport.abort)
        self._parse()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.handshake_complete = False  # makes uvicorn report 1006; 1005 would be a close frame without a code
        super().connection_lost(exc)
        if self._slowed is not None:
            self._slowed.cancel()
        if self.on_writable is not None:
            self.on_writable()

    async def receive(self) -> Any:
        """The next message, as in ASGI."""
        message = await self.queue.get()
        self._waiting_bytes -= _waiting_bytes(message)
        self._parse()
        return message

    def data_received(self, data: bytes) -> None:
        self._unparsed += data
        self._parse()

    def _parse(self) -> None:
        """Parse the bytes that were read, as far as the bounds allow; then read more or stop reading."""
        while self._unparsed and not self._has_enough and not self._lingering:
            piece = bytes(self._unparsed[:_PIECE_BYTES])
            del self._unparsed[:_PIECE_BYTES]
            self._parse_piece(piece)
        if not self.transport.is_closing() and self.read_paused is not self._has_enough:
            self._stop_reading() if self._has_enough else self._resume_reading()

    @property
    def _has_enough(self) -> bool:
        return self._slowed is not None or (self._waiting_bytes >= READ_AHEAD_BYTES and not self.close_sent)

    def _stop_reading(self) -> None:
        self.read_paused = True
        self.transport.pause_reading()
        self._report_answer()

    def _resume_reading(self) -> None:
        """Restart the pong deadline: the pong may be among the bytes that were not read."""
        self.read_paused = False
        self.transport.resume_reading()
        if self.pong_timer is not None and self.ping_timeout is not None:
            self.pong_timer.cancel()
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)

    def _parse_piece(self, piece: bytes) -> None:
        """uvicorn leaves a handshake that cannot be read without an answer and without an end: not so here."""
        super().data_received(piece)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            answer = b"".join(self.conn.data_to_send())
            self.transport.write(
                answer or b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()

    def handle_events(self) -> None:
        self._pace(len(self.conn.events) + self._pings)
        self._pings = 0
        super().handle_events()

    def _pace(self, frames: int) -> None:
        """Count frames; above the burst, parse no more until the rate allows it."""
        now = self.loop.time()
        self._paced_until = max(self._paced_until, now - FRAMES_AT_ONCE / FRAMES_PER_S) + frames / FRAMES_PER_S
        if self._paced_until > now and self._slowed is None:
            self._slowed = self.loop.call_at(self._paced_until, self._go_on)

    def _go_on(self) -> None:
        self._slowed = None
        self._parse()

    def handle_text(self, event: Frame) -> None:
        self._begin("text", event)

    def handle_bytes(self, event: Frame) -> None:
        self._begin("bytes", event)

    def _begin(self, kind: Literal["text", "bytes"], event: Frame) -> None:
        self.curr_msg_data_type = kind
        self._message.clear()
        self.handle_cont(event)

    def handle_cont(self, event: Frame) -> None:
        """Join fragments as they come: kept apart, many tiny ones would take fifty times their size."""
        self._message += event.data
        if event.fin:
            self._message_received(bytes(self._message))
            self._message.clear()

    def _message_received(self, data: bytes) -> None:
        if self.close_sent:
            return
        kind = self.curr_msg_data_type
        try:
            message = {"type": "websocket.receive", kind: data.decode() if kind == "text" else data}
        except UnicodeDecodeError:
            self.conn.fail(CloseCode.INVALID_DATA)
            self.handle_parser_exception()
            return
        self._message_waits(message)

    def _message_waits(self, message: Mapping[str, Any]) -> None:
        self._waiting_bytes += _waiting_bytes(message)
        self.queue.put_nowait(cast(Any, message))

    def _on_ping(self, payload: bytes) -> None:
        self._pings += 1
        if self._forwards:
            self._message_waits({"type": "websocket.ping", "bytes": payload})
        else:
            self.put_pong(payload)

    def handle_pong(self, event: Frame) -> None:
        payload = bytes(event.data)
        if payload == self._forwarded_ping:
            self._report_answer()
        elif payload == self.pending_ping_payload or not self._forwards:
            super().handle_pong(event)
        else:
            self._message_waits({"type": "websocket.pong", "bytes": payload})

    def keepalive_timeout(self) -> None:
        """Abort: a close would wait for a peer that is gone. While reading is stopped, its pong may be unread."""
        self.pong_timer = self.pending_ping_payload = None
        if self.read_paused:
            self.send_keepalive_ping()
        else:
            self.unresponsive = True
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

    def _cut_off(self) -> None:
        self.handshake_complete = True  # else uvicorn answers 500
        self.transport.abort()

    def shutdown(self) -> None:
        """Close with 1012; a client that does not read is dropped."""
        super().shutdown()
        self.loop.call_later(FLUSH_S, self.transport.abort)


def _waiting_bytes(message: Mapping[str, Any]) -> int:
    """The memory that a client's message takes while it waits; 0 for other events."""
    if message["type"] in ("websocket.connect", "websocket.disconnect"):
        return 0
    return _MESSAGE_OVERHEAD_BYTES + len(message.get("text") or message.get("bytes") or b"")


def of(scope: Any) -> SocketProtocol:
    """The connection behind an ASGI scope; the server must run with ws=SocketProtocol."""
    found: SocketProtocol = scope["extensions"][EXTENSION]
    return found
