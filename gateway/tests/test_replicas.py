"""Several replicas of a service: requests and WebSockets are spread, and an unreachable replica is skipped."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from gateway.proxy import replicas
from shared.testing.running import running
from shared.testing.waiting import eventually

SIGNED = "/api/v1/rooms/7/messages"


class Twins:
    """Two replicas of chat-service on sockets of their own, which can be killed and started again."""

    def __init__(self, helpers: Any) -> None:
        self.seen: Counter[int] = Counter()
        self.bodies: list[bytes] = []
        self.urls: list[str] = []
        self._helpers = helpers
        self._running: list[AsyncExitStack] = []

    async def start(self, number: int, port: int = 0) -> None:
        async def service(scope: Any, receive: Any, send: Any) -> None:
            self.seen[number] += 1
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept", "subprotocol": "flotilla.v1"})
                await send({"type": "websocket.send", "text": str(number)})
                await receive()
                return
            self.bodies.append(await self._helpers.read_body(receive))
            await self._helpers.reply(send, 200, str(number).encode())

        stack = AsyncExitStack()
        url = await stack.enter_async_context(running(service, lifespan="off", port=port))
        self._running[number:] = [stack, *self._running[number + 1 :]]
        self.urls[number:] = [url, *self.urls[number + 1 :]]

    async def kill(self, number: int) -> None:
        await self._running[number].aclose()

    async def restart(self, number: int) -> None:
        await self.start(number, int(self.urls[number].rpartition(":")[2]))


@pytest.fixture
async def twins(helpers: Any) -> AsyncIterator[Twins]:
    both = Twins(helpers)
    await both.start(0)
    await both.start(1)
    yield both
    await both.kill(0)
    await both.kill(1)


@pytest.fixture
async def client(open_edge: Any, twins: Twins) -> AsyncIterator[httpx2.AsyncClient]:
    edge = await open_edge(upstreams={"chat": twins.urls})
    async with httpx2.AsyncClient(base_url=edge.url, timeout=20) as opened:
        yield opened


async def test_requests_and_websockets_are_spread_evenly(client: Any, twins: Twins, sign_in: Any) -> None:
    for _ in range(10):
        assert (await client.get(SIGNED, headers=sign_in("ann"))).status_code == 200
    assert twins.seen == {0: 5, 1: 5}
    url = str(client.base_url).replace("http", "ws", 1).rstrip("/") + "/ws"
    async with AsyncExitStack() as stack:
        for _ in range(4):
            socket = connect(url, subprotocols=["flotilla.v1"], additional_headers=sign_in("ann"), proxy=None)  # type: ignore[list-item]
            await (await stack.enter_async_context(socket)).recv()
        assert twins.seen == {0: 7, 1: 7}


async def test_an_unreachable_replica_is_skipped(
    client: Any, twins: Twins, sign_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even for a POST with a chunked body: no byte of it went to the replica that died."""
    monkeypatch.setattr(replicas, "SKIP_S", 600)
    await twins.kill(0)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10_000
            await asyncio.sleep(0)

    before = _unreachable()
    for _ in range(4):
        assert (await client.post(SIGNED, content=pieces(), headers=sign_in("ann"))).text == "1"
        assert (await client.get(SIGNED, headers=sign_in("ann"))).text == "1"
    url = str(client.base_url).replace("http", "ws", 1).rstrip("/") + "/ws"
    async with connect(url, subprotocols=["flotilla.v1"], additional_headers=sign_in("ann"), proxy=None) as socket:  # type: ignore[list-item]
        assert await socket.recv() == "1"
    assert [len(body) for body in twins.bodies if body] == [200_000] * 4
    assert _unreachable() == before + 1  # it was tried once and then skipped


def _unreachable() -> float:
    return float(replicas.UNREACHABLE.labels("chat")._value.get())


async def test_a_restarted_replica_is_used_again(
    client: Any, twins: Twins, sign_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "SKIP_S", 0.2)
    await twins.kill(0)
    await twins.kill(1)
    reply = await client.get(SIGNED, headers=sign_in("ann"))
    assert (reply.status_code, reply.json()["code"]) == (503, "service_unavailable")
    assert int(reply.headers["retry-after"]) >= 1
    await twins.restart(1)
    assert (
        await client.get(SIGNED, headers=sign_in("ann"))
    ).text == "1"  # a skipped replica is tried if no other is left
    await twins.restart(0)

    async def both_serve() -> bool:
        return {(await client.get(SIGNED, headers=sign_in("ann"))).text for _ in range(4)} == {"0", "1"}

    await eventually(both_serve)


@pytest.fixture
def frozen() -> Iterator[socket.socket]:
    """A replica that was stopped (SIGSTOP): the kernel accepts connections for it, and nothing is answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def test_a_frozen_replica_is_skipped_until_it_answers_again(
    open_edge: Any, twins: Twins, sign_in: Any, frozen: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SKIP_S", "SUSPECT_S", "PROBE_S"):
        monkeypatch.setattr(replicas, name, 0.2)
    port = frozen.getsockname()[1]
    edge = await open_edge(upstreams={"chat": [f"http://127.0.0.1:{port}", twins.urls[1]]})
    async with httpx2.AsyncClient(base_url=edge.url, timeout=1) as client:

        async def answers() -> set[str]:
            """Who served eight requests; `none` for those that waited in vain."""
            calls = [client.get(SIGNED, headers=sign_in("ann")) for _ in range(8)]
            replies = await asyncio.gather(*calls, return_exceptions=True)
            return {"none" if isinstance(reply, BaseException) else reply.text for reply in replies}

        async def one_serves() -> bool:
            return await answers() == {"1"}

        async def both_serve() -> bool:
            return await answers() == {"0", "1"}

        assert await answers() == {"none", "1"}
        await eventually(one_serves, within_s=10)
        assert replicas.SKIPPED.labels("chat")._value.get() == 1
        frozen.close()
        await twins.kill(0)
        await twins.start(0, port)
        await eventually(both_serve, within_s=10)
        assert replicas.SKIPPED.labels("chat")._value.get() == 0


async def test_a_slow_route_takes_no_replica_out(
    open_edge: Any, upstream: Any, upstream_url: str, twins: Twins, sign_in: Any, helpers: Any, monkeypatch: Any
) -> None:
    """The probe is answered, so the replica is not skipped."""
    monkeypatch.setattr(replicas, "SUSPECT_S", 0.05)
    released, probed = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/livez":
            probed.set()
        else:
            await released.wait()
        await helpers.reply(send, 200, b"slow")

    upstream.handler = slow
    edge = await open_edge(upstreams={"chat": [upstream_url, twins.urls[1]]})
    before = _unreachable()
    async with httpx2.AsyncClient(base_url=edge.url, timeout=20) as client:
        calls = []

        async def another_is_probed() -> bool:
            calls.append(asyncio.create_task(client.get(SIGNED, headers=sign_in("ann"))))
            return probed.is_set()

        await eventually(another_is_probed, every_s=0.1)
        released.set()
        replies = Counter([(await call).text for call in calls])
    assert abs(replies["slow"] - replies["1"]) <= 1
    assert _unreachable() == before


async def test_a_request_that_was_sent_is_not_sent_to_another_replica(
    open_edge: Any, twins: Twins, sign_in: Any, raw_upstream: Any
) -> None:
    asked = []

    async def breaks_off(reader: Any, writer: Any) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))

    edge = await open_edge(upstreams={"chat": [await raw_upstream(breaks_off), twins.urls[1]]})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        replies = [await client.post(SIGNED, json={}, headers=sign_in("ann")) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [502, 200]
    assert (len(asked), twins.seen[1]) == (1, 1)
