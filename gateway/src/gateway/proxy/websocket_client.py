"""WebSockets to upstreams over the websockets package, which parses each message and frames it again."""

from collections.abc import Callable
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import EXTERNAL_CLOSE_CODES
from websockets.typing import Subprotocol

from gateway.proxy.upstream import (
    HandshakeRefused,
    SocketClosed,
    UpstreamBroken,
    UpstreamSocket,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from shared.web.sockets import leave_pings

_OPEN_S: Final = 5.0
_CLOSE_S: Final = 5.0
_MAX_MESSAGE_BYTES: Final = 1024 * 1024
_UNREAD_MESSAGES: Final = 16  # when so many are queued, the gateway stops reading from the upstream
_ABNORMAL: Final = 1006  # RFC 6455, section 7.1.5: no close frame was received


async def open_socket(url: str, headers: list[tuple[bytes, bytes]], subprotocol: str) -> UpstreamSocket:
    """Open a WebSocket without compression. The gateway neither pings the service nor answers its pings."""
    try:
        connection = await connect(
            url,
            create_connection=_Connection,
            additional_headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in headers],
            subprotocols=[Subprotocol(subprotocol)],
            compression=None,
            user_agent_header=None,
            proxy=None,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            ping_interval=None,
            max_size=_MAX_MESSAGE_BYTES,
            max_queue=_UNREAD_MESSAGES,
        )
    except InvalidStatus as error:
        raise HandshakeRefused(error.response.status_code) from error
    except TimeoutError as error:
        raise UpstreamTimedOut from error
    except OSError as error:
        raise UpstreamUnreachable from error
    except WebSocketException as error:
        raise UpstreamBroken from error
    assert isinstance(connection, _Connection)  # noqa: S101 - as asked for above
    return _Socket(connection)


class _Connection(ClientConnection):
    """Passes pings and pongs on."""

    on_pong: Callable[[bytes], None] | None = None

    def acknowledge_pings(self, data: bytes) -> None:
        if self.on_pong is not None:
            self.on_pong(data)


class _Socket:
    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    async def send(self, message: str | bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    async def ping(self, payload: bytes) -> None:
        """Not by the connection's own `ping`, which refuses a payload that is under way already."""
        try:
            async with self._connection.send_context():
                self._connection.protocol.send_ping(payload)
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    async def pong(self, payload: bytes) -> None:
        try:
            await self._connection.pong(payload)
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    def forward_control_frames(self, on_ping: Callable[[bytes], None], on_pong: Callable[[bytes], None]) -> None:
        leave_pings(self._connection.protocol, on_ping)
        self._connection.on_pong = on_pong

    async def close(self, code: int, reason: str = "") -> None:
        known = code in EXTERNAL_CLOSE_CODES or 3000 <= code < 5000
        await self._connection.close(code if known else 1000, reason)

    def abort(self) -> None:
        self._connection.transport.abort()


def _closed(closed: ConnectionClosed) -> SocketClosed:
    received = closed.rcvd
    return SocketClosed(received.code, received.reason) if received is not None else SocketClosed(_ABNORMAL)
