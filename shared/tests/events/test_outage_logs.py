"""An outage is logged when it begins and when it ends, however many attempts fail in between."""

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.background import Backoff, PollingLoop, supervise
from shared.events.bus import Bus, BusUnavailable
from shared.events.handlers import EventHandlers
from shared.events.receiver import Receiver
from shared.events.relay import Relay
from shared.identity.jwks import Jwks
from shared.ids import new_id
from shared.problems import ServiceUnavailable
from shared.testing.waiting import eventually

ATTEMPTS = 40


async def test_an_outage_of_the_broker_is_two_lines_a_loop(
    broker: Any, bus: Bus, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"t{new_id().hex}"
    relay, receiver = Relay(database, bus, name, poll_s=0.05), Receiver(database, bus, name, EventHandlers())

    async def reachable() -> bool:
        with suppress(BusUnavailable):
            return await bus.depth(name) >= 0
        return False

    async with supervise({"relay": relay.run, "receiver": receiver.run}):
        await eventually(reachable)
        await broker.settled()
        with caplog.at_level(logging.INFO):
            await broker.server.kill()
            for number in range(ATTEMPTS):
                assert not await reachable()
                with pytest.raises(BusUnavailable):
                    await bus.publish(b"{}", event_type=name, event_id=str(number))
                await asyncio.sleep(0.05)  # the time that the loops get to make attempts of their own
            await broker.server.start()
            await eventually(lambda: ("loop_recovered", "bus consumer") in _lines(caplog))
    lines = _lines(caplog)
    assert lines["loop_interrupted", "bus consumer"] == lines["loop_recovered", "bus consumer"] == 1
    assert set(lines.values()) == {1}
    assert {event for event, _ in lines} == {"loop_interrupted", "loop_recovered"}


def _lines(caplog: pytest.LogCaptureFixture) -> Counter[tuple[str, str]]:
    """How often each line was logged, by its event and its loop."""
    lines = [record.msg if isinstance(record.msg, dict) else {} for record in caplog.records]
    texts = [record.getMessage() for record in caplog.records]
    return Counter((line.get("event", text), line.get("loop", "")) for line, text in zip(lines, texts, strict=True))


async def test_a_connection_that_is_lost_as_soon_as_it_opens_is_one_outage() -> None:
    """As a broker behind a load balancer, which accepts connections for a server that is down."""
    attempts = 0

    async def step() -> None:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            loop.recovered()
        if attempts > ATTEMPTS:
            await asyncio.Event().wait()
        raise ServiceUnavailable

    loop = PollingLoop("flapping", step, every_s=0, backoff=Backoff(0.001, 0.01))
    with capture_logs() as logs:
        async with supervise({"flapping": loop.run}):
            await eventually(lambda: len(logs) == 2)
    assert [line["event"] for line in logs] == ["loop_interrupted", "loop_recovered"]
    assert logs[1]["failures"] == ATTEMPTS


async def test_an_outage_of_the_keys_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def unavailable() -> Any:
        nonlocal asked
        asked += 1
        raise ServiceUnavailable

    monkeypatch.setattr("shared.identity.jwks._BACKOFF", Backoff(0.001, 0.01))
    with capture_logs() as logs:
        async with supervise({"jwks": Jwks(unavailable).run}):
            await eventually(lambda: asked > ATTEMPTS)
    assert [line["event"] for line in logs] == ["loop_interrupted"]
