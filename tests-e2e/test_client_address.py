"""Failed sign-ins count for the address that the gateway saw, whatever a client says about its address."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import httpx2
import pytest
from people import PASSWORD, Person, Town

from shared.dev.launcher.running_fleet import Fleet
from shared.identity.tokens import ADDRESS_HEADER, Signer

StartFleet: TypeAlias = Callable[..., AbstractAsyncContextManager[Fleet]]

FAILURES = 5
SETTINGS = {"SIGN_IN__COUNT_LOOPBACK": "true", "SIGN_IN__FAILURES_PER_ADDRESS": str(FAILURES)}


@pytest.fixture(scope="module")
async def counting(start_fleet: StartFleet, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """A gateway, auth-service and users-service that count failures from 127.0.0.0/8 as from any other network."""
    data, without = tmp_path_factory.mktemp("counting"), frozenset({"chat", "tasks", "worker"})
    async with start_fleet("valkey", data, replicas={}, without=without, settings=SETTINGS) as running:
        yield running


@pytest.fixture
async def ann(counting: Fleet) -> AsyncIterator[Person]:
    async with Town.of(counting) as town:
        yield await town.founder(tier="free")


async def sign_in(
    url: str, source: str, username: str, password: str = PASSWORD, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """A sign-in by a client whose socket is bound to the address `source`: its status and its problem's code."""
    transport = httpx2.AsyncHTTPTransport(local_address=source)
    async with httpx2.AsyncClient(base_url=url, transport=transport, timeout=30) as client:
        body = {"username": username, "password": password}
        reply = await client.post("/auth/login", json=body, headers=headers)
        return reply.status_code, reply.json().get("code", "")


async def fail(url: str, source: str, *, headers: dict[str, str] | None = None) -> None:
    """As many failures as an address may have, each for another name."""
    for number in range(FAILURES):
        name = f"nobody{number}-{source}"
        assert await sign_in(url, source, name, "Wrong-word-7", headers) == (401, "sign_in_refused")


async def test_failures_throttle_the_address_that_they_come_from(counting: Fleet, ann: Person) -> None:
    [url] = counting.gateway_urls
    await fail(url, "127.0.0.2")
    assert await sign_in(url, "127.0.0.2", ann.username) == (429, "sign_in_throttled")
    assert await sign_in(url, "127.0.0.3", ann.username) == (200, "")


def forged(victim: str, keys: Path) -> list[dict[str, str]]:
    """Headers by which a client could want to be taken for `victim`; tasks-service may not sign addresses."""
    return [
        {"X-Forwarded-For": victim, "X-Real-IP": victim, "Forwarded": f"for={victim}"},
        {ADDRESS_HEADER: victim, ADDRESS_HEADER.replace("-", "_"): victim},
        {ADDRESS_HEADER: Signer.from_file("gateway", keys / "tasks.pem").sign_address(victim, "auth")},
        {ADDRESS_HEADER: Signer.from_file("tasks", keys / "tasks.pem").sign_address(victim, "auth")},
        {ADDRESS_HEADER: Signer.from_file("gateway", keys / "gateway.pem").sign_address(victim, "users")},
    ]


@pytest.mark.parametrize("kind", range(5))
async def test_a_client_that_forges_its_address_is_counted_by_its_own(counting: Fleet, ann: Person, kind: int) -> None:
    [url] = counting.gateway_urls
    source, victim = f"127.0.1.{kind + 1}", f"127.0.2.{kind + 1}"
    await fail(url, source, headers=forged(victim, counting.around.folder.keys)[kind])
    assert await sign_in(url, source, ann.username) == (429, "sign_in_throttled")
    assert await sign_in(url, victim, ann.username) == (200, "")


@pytest.mark.parametrize("kind", range(5))
async def test_a_caller_of_auth_service_that_forges_its_address_is_counted_by_its_own(
    counting: Fleet, ann: Person, kind: int
) -> None:
    [gateway], auth = counting.gateway_urls, counting.children["auth"].command.url or ""
    source, victim = f"127.0.3.{kind + 1}", f"127.0.4.{kind + 1}"
    await fail(auth, source, headers=forged(victim, counting.around.folder.keys)[kind])
    assert await sign_in(auth, source, ann.username) == (429, "sign_in_throttled")
    assert await sign_in(gateway, victim, ann.username) == (200, "")


async def test_a_gateways_valid_signature_for_another_address_does_not_pass_the_gateway(
    counting: Fleet, ann: Person
) -> None:
    """As a client could replay it that once saw one: the gateway replaces the header."""
    [url] = counting.gateway_urls
    keys = counting.around.folder.keys
    seen = {ADDRESS_HEADER: Signer.from_file("gateway", keys / "gateway.pem").sign_address("127.0.0.5", "auth")}
    await fail(url, "127.0.0.4", headers=seen)
    assert await sign_in(url, "127.0.0.4", ann.username, headers=seen) == (429, "sign_in_throttled")
    assert await sign_in(url, "127.0.0.5", ann.username) == (200, "")
