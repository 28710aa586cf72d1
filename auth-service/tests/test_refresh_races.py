"""Refreshes that race over two replicas: whatever the order, one successor, and no copy outlives its owner."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth_service.keyring import Keyring
from auth_service.sessions.refresh_tokens import RefreshToken, decode
from shared.app import Service
from shared.resources import Resources
from shared.settings import ServiceSettings
from shared.testing.postgres_wire import counted
from shared.testing.running import serving_service

from .door import Door, claims_of, problem
from .oauth import registered


@pytest.fixture
async def doors(door: Door, service: Service, settings: ServiceSettings) -> AsyncIterator[Sequence[Door]]:
    """The doors of two replicas over one database."""
    async with (
        serving_service(service.create_app(settings)) as second,
        httpx2.AsyncClient(base_url=second.url, timeout=10) as client,
    ):
        yield door, replace(door, client=client)


async def test_a_usual_refresh_a_session_look_up_and_an_introspection_are_one_round_trip_each(
    door: Door, service: Service, settings_values: dict[str, Any]
) -> None:
    first = await door.signed_up("ann", slug="acme")
    server = await registered(door, first)
    async with counted(settings_values["database_url"]) as (wire, url):
        values = settings_values | {"database_url": url, "database": settings_values["database"] | {"pool_size": 1}}
        app = service.create_app(service.settings(_env_file=None, **values), events=False)
        async with serving_service(app) as served, httpx2.AsyncClient(base_url=served.url, timeout=10) as client:
            counting, tokens = replace(door, client=client), first
            refreshes, look_ups, introspections = set(), set(), set()
            asking = replace(server, door=counting)
            for _ in range(40):  # polls of a service that has just started may fall into some
                wire.clear()
                tokens = (await counting.refresh(tokens["refresh_token"])).json()
                refreshes.add((wire.round_trips, wire.executions, len(wire.queries)))
                wire.clear()
                assert (await client.get("/auth/me", headers=door.bearer(tokens))).status_code == 200
                look_ups.add((wire.round_trips, wire.executions, len(wire.queries)))
                wire.clear()
                assert (await asking.post("introspect", {"token": tokens["access_token"]})).json()["active"] is True
                introspections.add((wire.round_trips, wire.executions, len(wire.queries)))
    assert min(refreshes) == (1, 1, 0)
    assert min(introspections) == (1, 1, 0)  # with the client that asks
    assert min(look_ups) == (5, 3, 2)  # one to look the session up; BEGIN, account, tenant, COMMIT for the answer


async def test_eight_at_once_over_two_replicas_get_one_successor(doors: Sequence[Door]) -> None:
    first = await doors[0].signed_up("ann", slug="acme")
    for _ in range(5):
        replies = await asyncio.gather(*(doors[turn % 2].refresh(first["refresh_token"]) for turn in range(8)))
        assert [reply.status_code for reply in replies] == [200] * 8
        assert len({reply.json()["refresh_token"] for reply in replies}) == 1
        first = replies[0].json()
    assert await doors[0].rows("SELECT generation FROM sessions") == [{"generation": 5}]


async def test_an_old_token_ends_its_family_and_no_other_device(doors: Sequence[Door]) -> None:
    phone = await doors[0].signed_up("ann", slug="acme")
    laptop = (await doors[1].login("ann")).json()
    second = (await doors[0].refresh(phone["refresh_token"])).json()
    third = (await doors[1].refresh(second["refresh_token"])).json()
    assert problem(await doors[0].refresh(phone["refresh_token"])) == (401, "refresh_token_reused")
    assert problem(await doors[1].refresh(third["refresh_token"])) == (401, "refresh_refused")
    assert (await doors[1].refresh(laptop["refresh_token"])).status_code == 200
    assert claims_of(laptop)["sid"] == laptop["session_id"] != phone["session_id"]


@dataclass(frozen=True)
class Family:
    """What a family of tokens is, by the rules of docs/decisions/0011-refresh-tokens.md."""

    generation: int = 0
    in_grace: bool = False
    ended: bool = False

    def shown(self, generation: int) -> tuple["Family", int | str]:
        """The family after a refresh with that generation, and its answer: the next generation, or the refusal."""
        if self.ended:
            return self, "refresh_refused"
        if generation == self.generation:
            return Family(generation + 1, in_grace=True), generation + 1
        if generation == self.generation - 1 and self.in_grace:
            return self, self.generation
        return replace(self, ended=True), "refresh_token_reused"


def explained_by(start: Iterable[Family], shown: Sequence[int], answers: Sequence[int | str]) -> set[Family]:
    """The families that remain after the refreshes, one after the other in each order that explains the answers."""
    found = set()
    for family in start:
        for order in permutations(range(len(shown))):
            now, explained = family, True
            for which in order:
                now, answer = now.shown(shown[which])
                explained = explained and answer == answers[which]
            if explained:
                found.add(now)
    return found


AT_ONCE = st.lists(st.sampled_from([0, 0, 0, -1, -1, -2, 1]), min_size=1, max_size=3)
"""Refreshes at the same time, by the distance of their generation from the current one."""
Steps = list[list[int] | str]
STEPS = st.lists(AT_ONCE | st.sampled_from(["window passes", "membership is stale"]), min_size=1, max_size=6)


examples = partial(settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@examples(max_examples=100)
@given(steps=STEPS)
async def test_any_interleaving_is_some_order_of_the_rules(
    doors: Sequence[Door], resources: Resources, steps: Steps
) -> None:
    await _interleaved(doors, resources, steps)


@pytest.mark.long
@examples(max_examples=1000)
@given(steps=STEPS)
async def test_a_thousand_interleavings_are_some_order_of_the_rules(
    doors: Sequence[Door], resources: Resources, steps: Steps
) -> None:
    await _interleaved(doors, resources, steps)


async def _interleaved(doors: Sequence[Door], resources: Resources, steps: Steps) -> None:
    door, keyring, family = doors[0], resources.get(Keyring), uuid4()
    await _open_session(door, family)
    possible = {Family()}
    for step in steps:
        if step == "window passes":
            await door.run("UPDATE sessions SET rotated_at = rotated_at - interval '21 s' WHERE id = :id", id=family)
            possible = {replace(each, in_grace=False) for each in possible}
        elif isinstance(step, str):
            await door.a_minute_passes()
        else:
            current = max(each.generation for each in possible)
            shown = [max(current + distance, 0) for distance in step]
            tokens = [RefreshToken(family, generation).encode(keyring) for generation in shown]
            replies = await asyncio.gather(*(doors[n % 2].refresh(token) for n, token in enumerate(tokens)))
            answers = [_answer(reply, keyring, family) for reply in replies]
            after = explained_by(possible, shown, answers)
            assert after, (possible, shown, answers)
            possible = after
    ended = await door.rows("SELECT ended_at IS NOT NULL AS ended FROM sessions WHERE id = :id", id=family)
    assert ended[0]["ended"] in {each.ended for each in possible}


async def _open_session(door: Door, family: UUID) -> None:
    """A session of ann's at its first generation; she signs up with the first of them."""
    if not await door.rows("SELECT 1 FROM sessions"):
        await door.signed_up("ann", slug="acme")
    await door.run(
        "INSERT INTO sessions (id, account_id, tenant_id, client_id)"
        " SELECT :id, account_id, tenant_id, client_id FROM sessions ORDER BY created_at LIMIT 1",
        id=family,
    )


def _answer(reply: httpx2.Response, keyring: Keyring, family: UUID) -> int | str:
    if reply.status_code != 200:
        return problem(reply)[1]
    token = decode(reply.json()["refresh_token"], keyring)
    assert token is not None
    assert token.family == family
    return token.generation
