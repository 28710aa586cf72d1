"""The fleet as separate processes on free ports: two gateways, two chat replicas, two workers, real servers below.

Tests go through a gateway only; what they know of the inside is how to hurt it.
"""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Page, chromium, open_page
from people import Town

from shared.dev.fleet import repository
from shared.dev.launcher.logs import Screen
from shared.dev.launcher.running_fleet import Fleet, Plan, running_fleet
from shared.dev.servers.binaries import rabbitmq_binary

REPLICAS = {"gateway": 2, "chat": 2, "worker": 2}
HEARTBEAT_S = 3
SETTINGS = {
    "SOCKET__HEARTBEAT_S": str(HEARTBEAT_S),  # tests wait for clients that do not answer
    "LIMITS__ANONYMOUS": "1000000",
    "SESSIONS__REFRESH_GRACE_S": "3",  # a test waits for its end
    "FILES__MAX_BYTES": str(4 * 1024 * 1024),  # a test sends more
}


def plan(data: Path, bus: str) -> Plan:
    """A fleet with real limits, whose people of the enterprise tier are never short of requests."""
    named = {name: value for name, value in os.environ.items() if name != "BUS"}
    return Plan(
        root=repository(),
        data=data,
        replicas=REPLICAS,
        free_ports=True,
        real_limits=True,
        environment=named | ({"BUS": "valkey"} if bus == "valkey" else {}),
        settings=SETTINGS,
        ready_s=120,
    )


_used: list[tuple[str, ...]] = []
"""The servers below each fleet that was started."""


@asynccontextmanager
async def fleet_on(bus: str, data: Path, **changes: Any) -> AsyncIterator[Fleet]:
    """The fleet on RabbitMQ or Valkey; `changes` replace parts of its plan."""
    async with AsyncExitStack() as stack:
        log = stack.enter_context((data / "screen.log").open("w", encoding="utf-8"))
        running = await stack.enter_async_context(running_fleet(replace(plan(data, bus), **changes), Screen(log)))
        _used.append(running.backing.described)
        yield running


@pytest.fixture(scope="session")
def start_fleet() -> Callable[..., AbstractAsyncContextManager[Fleet]]:
    """For tests that need a fleet of their own."""
    return fleet_on


@pytest.fixture(scope="session")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """The fleet on Valkey Streams, which every machine has."""
    async with fleet_on("valkey", tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture(scope="session")
async def fleet_on_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """The fleet on RabbitMQ; skipped aloud where there is none, a failure with REQUIRE_RABBITMQ=1."""
    if rabbitmq_binary() is None:
        reason = "RabbitMQ is not installed (on Debian: apt-get install rabbitmq-server)"
        if os.environ.get("REQUIRE_RABBITMQ") == "1":
            pytest.fail(reason)
        sys.stderr.write(f"\nSKIPPED: the journeys on RabbitMQ: {reason}\n")
        pytest.skip(reason)
    async with fleet_on("rabbitmq", tmp_path_factory.mktemp("fleet-rabbitmq")) as running:
        yield running


@pytest.fixture
async def town(fleet: Fleet) -> AsyncIterator[Town]:
    """Makes tenants and people on the fleet, through its gateways; what a test broke is whole before the next."""
    async with Town.of(fleet) as made:
        yield made
    await fleet.ready()


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """A page of a browser; skipped aloud where none is installed."""
    program = chromium()
    if program is None:
        reason = "Chromium is not installed (on Debian: apt-get install chromium)"
        sys.stderr.write(f"\nSKIPPED: the pages in a browser: {reason}\n")
        pytest.skip(reason)
    async with open_page(program, tmp_path) as opened:
        yield opened


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line("the fleet: two gateways, two chat replicas, two workers, as separate processes")
    for servers in _used:
        terminalreporter.write_line("servers: " + ", ".join(servers))
