"""Pings and pongs pass the gateway: a service sees which of its clients are frozen."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

from gateway.edge import server as edge_server
from shared.testing.processes import ended, output, started
from shared.testing.waiting import eventually
from shared.web.sockets import leave_pings

from .test_websockets import FLOTILLA, opened

HEARTBEAT_S, ANSWER_S = 0.5, 2.0
LATE_S = 1.5  # what a busy machine may add

CLIENT = """
import asyncio, sys
from websockets.asyncio.client import connect

async def main():
    url, token = sys.argv[1:]
    headers = {"Authorization": token}
    async with connect(url, subprotocols=["flotilla.v1"], additional_headers=headers, ping_interval=None) as socket:
        print("open", flush=True)
        await socket.wait_closed()

asyncio.run(main())
"""


class Service:
    """A service that pings its clients, echoes their messages and keeps what it sees of them."""

    def __init__(self) -> None:
        self.url = ""
        self.connections: list[ServerConnection] = []
        self.received: list[tuple[Opcode, bytes]] = []
        self.answers_pings = True
        self.messages = 0

    async def __call__(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        receive = connection.protocol.recv_frame

        def recv_frame(frame: Any) -> None:
            self.received.append((frame.opcode, bytes(frame.data)))
            if frame.opcode is not Opcode.PING or self.answers_pings:
                receive(frame)

        connection.protocol.recv_frame = recv_frame  # type: ignore[method-assign]  # to see control frames
        try:
            async for message in connection:
                self.messages += 1
                await connection.send(message)
        except ConnectionClosed:
            return

    def pongs(self) -> int:
        return sum(opcode is Opcode.PONG for opcode, _ in self.received)

    def lost(self, number: int = 0) -> bool:
        """Whether the service has ended the connection."""
        return self.connections[number].close_code is not None


@pytest.fixture
async def start_service() -> AsyncIterator[Any]:
    """Starts a service with a heartbeat."""
    async with AsyncExitStack() as stack:

        async def start(heartbeat_s: float | None = HEARTBEAT_S) -> Service:
            service = Service()
            options: dict[str, Any] = {"ping_interval": heartbeat_s, "ping_timeout": ANSWER_S, "close_timeout": 0.5}
            listening = await stack.enter_async_context(
                serve(service, "127.0.0.1", 0, subprotocols=[FLOTILLA], compression=None, **options)  # type: ignore[list-item]  # a str is enough
            )
            service.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            return service

        yield start


@pytest.fixture
async def service(start_service: Any) -> Service:
    made: Service = await start_service()
    return made


@pytest.fixture
async def edge(open_edge: Any, service: Service) -> Any:
    return await open_edge(upstreams={"chat": [service.url]})


async def test_a_ping_and_its_payload_reach_the_other_end(open_edge: Any, start_service: Any, sign_in: Any) -> None:
    service = await start_service(heartbeat_s=None)
    edge = await open_edge(upstreams={"chat": [service.url]})
    async with opened(edge, headers=sign_in("ann"), ping_interval=None) as socket:
        await asyncio.wait_for(await socket.ping(b"client"), 5)
        await socket.pong(b"unasked")
        await asyncio.wait_for(await service.connections[0].ping(b"service"), 5)
    for expected in ((Opcode.PING, b"client"), (Opcode.PONG, b"unasked"), (Opcode.PONG, b"service")):
        assert expected in service.received


async def test_a_service_that_answers_no_ping_is_not_answered_for(
    open_edge: Any, start_service: Any, sign_in: Any
) -> None:
    service = await start_service(heartbeat_s=None)
    service.answers_pings = False
    edge = await open_edge(upstreams={"chat": [service.url]})
    async with opened(edge, headers=sign_in("ann"), ping_interval=None) as socket:
        answered = await socket.ping(b"client")
        await socket.send("after it")
        assert await socket.recv() == "after it"
        assert (Opcode.PING, b"client") in service.received
        assert not answered.done()


async def test_a_client_that_reads_nothing_is_seen_by_the_service(edge: Any, service: Service, sign_in: Any) -> None:
    socket = await opened(edge, headers=sign_in("ann"), ping_interval=None)
    await eventually(service.pongs)
    socket.transport.pause_reading()
    await eventually(service.lost, within_s=HEARTBEAT_S + ANSWER_S + LATE_S, saying="the frozen client is dropped")
    await eventually(lambda: not edge.server.server_state.connections, saying="so it is by the gateway")
    assert len(edge.gateway.streams) == 0
    socket.transport.abort()


async def test_a_stopped_process_is_seen_by_the_service(edge: Any, service: Service, sign_in: Any) -> None:
    process = started(sys.executable, "-c", CLIENT, f"{edge.ws_url}/ws", sign_in("ann")["Authorization"])
    try:
        assert await asyncio.to_thread(output(process).readline) == b"open\n"
        await eventually(service.pongs)
        process.send_signal(signal.SIGSTOP)
        await eventually(service.lost, within_s=HEARTBEAT_S + ANSWER_S + LATE_S, saying="the stopped one is dropped")
        await eventually(lambda: not edge.server.server_state.connections)
    finally:
        ended(process)


async def test_a_client_that_answers_slowly_stays(edge: Any, service: Service, sign_in: Any) -> None:
    async with opened(edge, headers=sign_in("ann"), ping_interval=None) as socket:
        loop = asyncio.get_running_loop()
        answers: list[asyncio.TimerHandle] = []

        def answer(payload: bytes) -> None:
            socket.protocol.send_pong(payload)
            socket.send_data()

        leave_pings(socket.protocol, lambda payload: answers.append(loop.call_later(ANSWER_S / 2, answer, payload)))
        await eventually(lambda: service.pongs() >= 3)
        assert not service.lost()
        for timer in answers:
            timer.cancel()


async def test_a_client_whose_pong_waits_behind_its_frames_stays(edge: Any, service: Service, sign_in: Any) -> None:
    """The gateway reads 1,000 frames a second: the pongs of a client that sends more are read too late."""
    async with opened(edge, headers=sign_in("ann"), ping_interval=None) as socket:
        await socket.send("first")
        await socket.recv()
        frames = 6000
        socket.transport.write(b"\x82\x80\0\0\0\0" * frames)
        await eventually(lambda: service.messages > frames, within_s=20)
        assert not service.lost()


@pytest.mark.parametrize("frozen", [True, False])
async def test_the_gateway_ends_a_dead_client_of_a_service_that_does_not_ping(
    open_edge: Any, start_service: Any, sign_in: Any, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    monkeypatch.setattr(edge_server, "_PING_S", 0.3)
    monkeypatch.setattr(edge_server, "_PONG_S", 0.6)
    service = await start_service(heartbeat_s=None)
    edge = await open_edge(upstreams={"chat": [service.url]})
    async with opened(edge, headers=sign_in("ann"), ping_interval=None) as other:
        socket = await opened(edge, headers=sign_in("bob"), ping_interval=None)
        socket.transport.pause_reading() if frozen else socket.transport.abort()
        await eventually(lambda: service.lost(1), within_s=5, saying="the dead client's connection is ended")
        assert not service.lost(0)
        await other.send("still here")
        assert await other.recv() == "still here"
        assert service.pongs() == 0  # the gateway's own heartbeat is its own
        socket.transport.abort()
