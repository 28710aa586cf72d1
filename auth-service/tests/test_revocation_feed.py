"""The feed as its followers ask for it: a request is held while nothing changes, and never longer than it may be."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import httpx2
import psutil
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import event

from shared.data.database import Database
from shared.identity.revocation_entries import FeedPage, SessionEnded
from shared.identity.revocation_feed import RevocationFeed
from shared.identity.revocations import Revocations
from shared.ids import new_id
from shared.resources import Resources
from shared.testing import People, eventually
from shared.testing.databases import Template, execute
from shared.web.health import HealthChecks

from .door import Door, principal_of

pytestmark = pytest.mark.own_process

PATH = "/internal/revocations"
BOUND_S = 2.0  # within which a revocation reaches every follower
LISTENER = "FROM pg_stat_activity WHERE application_name = 'flotilla-auth-listen' AND datname ="

Read = Callable[..., Awaitable[FeedPage]]


@pytest.fixture
def read(client: httpx2.AsyncClient, as_user: People) -> Read:
    """A page as a follower gets it: `await read(after, mark)`, as the page before says."""

    async def call(after: str | None = None, seen: str | None = None) -> FeedPage:
        params = {name: value for name, value in (("after", after), ("seen", seen)) if value is not None}
        reply = await client.get(PATH, params=params, headers=as_user.service("gateway"))
        assert reply.status_code == 200, reply.text
        return FeedPage.model_validate(reply.json())

    return call


@pytest.fixture
async def feed(resources: Resources) -> RevocationFeed:
    """The feed of the running service, whose LISTEN connection has been made."""
    found = resources.get(RevocationFeed)
    await eventually(lambda: found.listening)
    return found


@pytest.fixture
def reads(resources: Resources) -> list[str]:
    """The statements that have read revocations."""
    sent: list[str] = []

    def see(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if "FROM revocations" in statement:
            sent.append(statement)

    event.listen(resources.get(Database).engine().sync_engine, "before_cursor_execute", see)
    return sent


@pytest.fixture
def holding(read: Read, feed: RevocationFeed) -> Callable[[], Any]:
    """A request that the service holds: `async with holding() as answer`."""

    @asynccontextmanager
    async def call() -> AsyncIterator[asyncio.Task[FeedPage]]:
        page = await read()
        while True:  # a NOTIFY of what was done before may still be on its way
            answer = asyncio.ensure_future(read(page.next, page.mark))
            await eventually(partial(held_or_done, feed, answer), saying="the request is held")
            if not answer.done():
                break
            page = await answer
        yield answer
        answer.cancel()

    return call


def held_or_done(feed: RevocationFeed, answer: "asyncio.Future[FeedPage]") -> bool:
    return feed.held == 1 or answer.done()


def ended(page: FeedPage) -> set[UUID]:
    return {entry.id for entry in page.entries if isinstance(entry, SessionEnded)}


async def test_a_logout_ends_the_wait(door: Door, holding: Callable[[], Any]) -> None:
    ann = await door.signed_up("ann")
    async with holding() as answer, asyncio.timeout(BOUND_S):
        assert (await door.client.post("/auth/logout", headers=door.bearer(ann))).status_code == 204
        assert ended(await answer) == {principal_of(ann).session_id}


async def test_no_writer_can_forget_to_end_the_wait(door: Door, holding: Callable[[], Any]) -> None:
    session = new_id()
    put = "INSERT INTO revocations (kind, ref, expires_at) VALUES ('session', :id, now() + interval '1 hour')"
    async with holding() as answer, asyncio.timeout(BOUND_S):
        await door.run(put, id=str(session))
        assert ended(await answer) == {session}


async def test_an_idle_feed_is_read_once_a_wait(read: Read, feed: RevocationFeed, reads: list[str]) -> None:
    """By a follower that would ask a hundred times a second."""
    asked: list[str | None] = []

    async def fetch(after: str | None, seen: str | None) -> FeedPage:
        asked.append(seen)
        return await read(after, seen)

    following = asyncio.create_task(Revocations({"auth": fetch}, interval_s=0.01).run())
    await eventually(lambda: len(asked) == 4, saying="the follower has waited twice")
    following.cancel()
    await asyncio.wait([following])
    assert len(reads) in (3, 4)  # the last one may have ended before the follower did
    assert asked[0] is None
    assert len(set(asked[1:])) == 1


async def test_what_waits_holds_no_connection_and_does_not_look_slow(
    client: httpx2.AsyncClient, resources: Resources, holding: Callable[[], Any]
) -> None:
    labels = {"method": "GET", "route": PATH, "status": "200"}

    def spent_s() -> float:
        return REGISTRY.get_sample_value("flotilla_http_request_duration_seconds_sum", labels) or 0.0

    before = spent_s()
    async with holding() as answer:
        pools = resources.get(Database).pool_in_use
        await eventually(lambda: pools() == {"app": 0, "fleet": 0}, saying="no connection is held")
        assert REGISTRY.get_sample_value("flotilla_http_requests_in_flight") == 0
        await answer
    assert spent_s() - before < 2


async def test_a_mark_of_another_process_and_none_are_answered_at_once(read: Read, feed: RevocationFeed) -> None:
    """Of another replica, and of a follower of the release before marks: neither is held."""
    page = await read()
    async with asyncio.timeout(BOUND_S):
        for seen in (None, f"{new_id().hex}-1", "0"):
            assert (await read(page.next, seen)).mark == page.mark


async def test_a_lost_listener_ends_the_wait_and_holds_nothing_until_it_is_back(
    door: Door, read: Read, feed: RevocationFeed, holding: Callable[[], Any], template: Template, database_name: str
) -> None:
    ann = await door.signed_up("ann")
    allow = f'ALTER DATABASE "{database_name}" ALLOW_CONNECTIONS '
    cut = f"SELECT pg_terminate_backend(pid) {LISTENER} '{database_name}'"
    async with holding() as answer, asyncio.timeout(BOUND_S):
        await execute(template.admin_url, allow + "false", cut)
        page = await answer
    assert not feed.listening
    async with asyncio.timeout(BOUND_S):
        assert (await door.client.post("/auth/logout", headers=door.bearer(ann))).status_code == 204
        page = await read(page.next, page.mark)
        assert ended(page) == {principal_of(ann).session_id}
        await read(page.next, page.mark)
    await execute(template.admin_url, allow + "true")
    await eventually(lambda: feed.listening)
    async with holding():
        assert feed.held == 1


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process while it does nothing; its connections stay open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_silent_listener_delays_a_revocation_within_the_bound(door: Door, holding: Callable[[], Any]) -> None:
    ann = await door.signed_up("ann")
    (listener,) = await door.rows(f"SELECT pid {LISTENER} current_database()")
    if not psutil.pid_exists(listener["pid"]) or "postgres" not in psutil.Process(listener["pid"]).name():
        pytest.skip("PostgreSQL does not run on this machine")
    async with holding() as answer:
        with stopped(listener["pid"]):
            async with asyncio.timeout(BOUND_S):
                assert (await door.client.post("/auth/logout", headers=door.bearer(ann))).status_code == 204
                assert ended(await answer) == {principal_of(ann).session_id}


async def test_a_draining_process_ends_the_wait_and_holds_nothing_any_more(
    door: Door, read: Read, resources: Resources, holding: Callable[[], Any]
) -> None:
    ann = await door.signed_up("ann")
    async with holding() as answer, asyncio.timeout(BOUND_S):
        resources.get(HealthChecks).drain()
        page = await answer
        assert (await door.client.post("/auth/logout", headers=door.bearer(ann))).status_code == 204
        while not page.entries:
            page = await read(page.next, page.mark)
        for _ in range(3):
            page = await read(page.next, page.mark)
