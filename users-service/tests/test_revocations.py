"""What the feed says, read as the gateway reads it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx2
import pytest

from shared.identity.revocation_entries import FeedPage
from shared.identity.revocation_feed import RevocationFeed
from shared.identity.revocations import RevocationSet
from shared.resources import Resources
from shared.testing import People, eventually

pytestmark = pytest.mark.usefixtures("acme")


@pytest.fixture
def bob(as_user: People) -> str:
    return f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('bob')}"


async def read(
    client: httpx2.AsyncClient, as_user: People, after: str | None = None, seen: str | None = None
) -> FeedPage:
    query = {name: value for name, value in (("after", after), ("seen", seen)) if value is not None}
    reply = await client.get("/internal/revocations", params=query, headers=as_user.service("gateway"))
    assert reply.status_code == 200, reply.text
    return FeedPage.model_validate(reply.json())


async def membership_of_bob(client: httpx2.AsyncClient, as_user: People) -> dict[str, Any]:
    path = f"/internal/memberships/{as_user.tenant_id('acme')}/{as_user.id('bob')}"
    return dict((await client.get(path, headers=as_user.service("auth"))).json())


async def test_a_first_membership_ends_nothing(client: httpx2.AsyncClient, as_user: People) -> None:
    assert (await read(client, as_user)).entries == []


async def test_tokens_end_with_their_roles_their_membership_and_their_tenant(
    client: httpx2.AsyncClient, as_user: People, bob: str, operator: dict[str, str]
) -> None:
    ann = as_user("ann", roles=["admin"])
    tenant = bob.partition("/members")[0]
    version = (await membership_of_bob(client, as_user))["version"]
    tokens = [as_user.principal("bob", membership_version=version + later) for later in (0, 1, 4)]
    known, cursor = RevocationSet(), (await read(client, as_user)).next

    async def ended() -> tuple[Any, ...]:
        page = await read(client, as_user, cursor)
        known.apply(page.entries, now=0)
        return tuple(found and found.reason for found in map(known.ended, tokens))

    assert await ended() == (None, None, None)
    await client.put(bob, json={"roles": ["user", "analyst"]}, headers=ann)
    assert await ended() == ("membership", None, None)
    await client.patch(tenant, json={"status": "suspended"}, headers=operator)
    assert await ended() == ("membership", "tenant", "tenant")
    await client.patch(tenant, json={"status": "active"}, headers=operator)
    assert await ended() == ("membership", None, None)
    await client.delete(bob, headers=ann)
    assert await ended() == ("membership", "membership", None)
    await client.put(bob, json={"roles": ["user"]}, headers=ann)
    assert await ended() == ("membership", "membership", None)
    accept = f"/internal/memberships/{as_user.tenant_id('acme')}/{as_user.id('bob')}/accept"
    assert (await client.post(accept, headers=as_user.service("auth"))).json()["version"] == version + 4
    assert await ended() == ("membership", "membership", None)


async def test_tokens_of_a_resumed_tenant_are_of_a_later_version(
    client: httpx2.AsyncClient, as_user: People, bob: str, operator: dict[str, str]
) -> None:
    """So a gateway that knows of the suspension only accepts them."""
    tenant = bob.partition("/members")[0]
    known = RevocationSet()
    await client.patch(tenant, json={"status": "suspended"}, headers=operator)
    await client.patch(tenant, json={"name": "Acme, closed"}, headers=operator)
    known.apply((await read(client, as_user)).entries, now=0)
    suspended = (await membership_of_bob(client, as_user))["tenant"]["version"]
    await client.patch(tenant, json={"status": "active"}, headers=operator)
    resumed = (await membership_of_bob(client, as_user))["tenant"]["version"]
    versions = {version: replace(as_user.principal("bob"), tenant_version=version) for version in range(resumed + 1)}
    assert [version for version, token in versions.items() if known.ended(token) is None] == [suspended, resumed]


async def test_a_reader_who_has_just_read_is_told_again_what_may_have_committed_late(
    client: httpx2.AsyncClient, as_user: People, bob: str
) -> None:
    await client.delete(bob, headers=as_user("ann", roles=["admin"]))
    first = await read(client, as_user)
    assert (await read(client, as_user, first.next)).entries == first.entries != []


async def held(
    feed: RevocationFeed, page: FeedPage, ask: Callable[..., Awaitable[FeedPage]]
) -> tuple[FeedPage, "asyncio.Future[FeedPage]"]:
    """A request that the service holds, and the page before; a NOTIFY of earlier changes may still be on its way."""
    while True:
        answer = asyncio.ensure_future(ask(page.next, page.mark))
        await eventually(partial(_held_or_done, feed, answer), saying="the request is held")
        if not answer.done():
            return page, answer
        page = await answer


def _held_or_done(feed: RevocationFeed, answer: "asyncio.Future[FeedPage]") -> bool:
    return feed.held == 1 or answer.done()


async def test_changes_that_the_feed_shows_end_the_wait_and_others_do_not(
    client: httpx2.AsyncClient, resources: Resources, as_user: People, bob: str, operator: dict[str, str]
) -> None:
    ann, tenant = as_user("ann", roles=["admin"]), bob.partition("/members")[0]
    feed = resources.get(RevocationFeed)
    await eventually(lambda: feed.listening)
    page = await read(client, as_user)
    for change in (
        partial(client.put, bob, json={"roles": ["user", "analyst"]}, headers=ann),
        partial(client.patch, tenant, json={"status": "suspended"}, headers=operator),
        partial(client.patch, tenant, json={"status": "active"}, headers=operator),
        partial(client.delete, bob, headers=ann),
    ):
        page, answer = await held(feed, page, partial(read, client, as_user))
        assert (await client.patch(tenant, json={"name": "Acme, renamed"}, headers=operator)).status_code == 200
        assert feed.held == 1
        async with asyncio.timeout(2):
            assert (await change()).is_success
            known, page = page, await answer
        assert page.mark != known.mark
        assert page.entries


async def test_only_services_read_it_and_only_by_its_own_cursors(client: httpx2.AsyncClient, as_user: People) -> None:
    assert (await client.get("/internal/revocations", headers=as_user("ann", roles=["system"]))).status_code == 403
    for cursor in ("x", "-1", "1e9", "9" * 30):
        reply = await client.get("/internal/revocations", params={"after": cursor}, headers=as_user.service("gateway"))
        assert (reply.status_code, reply.json()["errors"][0]["parameter"]) == (422, "after")
