"""A session that has ended is over everywhere within two seconds, whatever ended it."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from harm import deaf
from people import PASSWORD, Person, Town

from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

EVERYWHERE_S = 2.0
GRACE_S = 3.0  # SESSIONS__REFRESH_GRACE_S of this fleet


async def test_a_refresh_token_that_is_used_again_ends_its_family(town: Town) -> None:
    ann = await town.founder()
    first = ann.tokens["refresh_token"]
    second = (await town.refresh(first)).json()
    retried = (await town.refresh(first, gateway=1)).json()
    assert retried["refresh_token"] == second["refresh_token"]  # the answer may have been lost on the way
    ann.tokens = second
    assert not await ann.refused()

    async def code() -> str:
        return str((await town.refresh(first)).json().get("code", ""))

    assert await eventually(code, within_s=GRACE_S + 5, every_s=0.2) == "refresh_token_reused"
    await eventually(ann.refused, within_s=EVERYWHERE_S, saying="what the family issued is refused")
    newest = await town.refresh(second["refresh_token"], gateway=1)
    assert newest.status_code == 401


async def test_a_refresh_token_older_than_the_last_ends_its_family_at_once(town: Town) -> None:
    ann = await town.founder()
    first = ann.tokens["refresh_token"]
    second = (await town.refresh(first)).json()["refresh_token"]
    ann.tokens = (await town.refresh(second)).json()
    assert (await town.refresh(first)).json()["code"] == "refresh_token_reused"
    await eventually(ann.refused, within_s=EVERYWHERE_S, saying="what the family issued is refused")
    assert (await town.refresh(ann.tokens["refresh_token"])).status_code == 401


async def test_eight_refreshes_at_once_over_two_gateways_have_one_successor(town: Town) -> None:
    ann = await town.founder()
    laptop = Person(town, ann.username, ann.id, ann.tenant, ann.tenant_id)
    await town.sign_in(laptop)
    shown = [ann.tokens["refresh_token"]]
    for _ in range(2):
        replies = await asyncio.gather(*(town.refresh(shown[-1], gateway=turn % 2) for turn in range(8)))
        assert [reply.status_code for reply in replies] == [200] * 8, [reply.text for reply in replies]
        [successor] = {reply.json()["refresh_token"] for reply in replies}
        shown.append(successor)
        ann.tokens = replies[0].json()

    reused = await town.refresh(shown[0], gateway=1)  # two generations old, and the last one's window is still open
    assert (reused.status_code, reused.json()["code"]) == (401, "refresh_token_reused")
    await eventually(ann.refused, within_s=EVERYWHERE_S, saying="what the family issued is refused")
    assert (await town.refresh(shown[-1])).status_code == 401
    laptop.tokens = (await town.refresh(laptop.tokens["refresh_token"], gateway=1)).json()
    assert await admitted(laptop), "another device goes on"


@pytest.mark.parametrize("gateway", [0, 1])
async def test_logout_ends_what_the_session_holds_open(town: Town, gateway: int) -> None:
    ann = (await town.founder()).at(gateway)
    job = await ann.start_job("wait", seconds=60, steps=10)
    other_device = Person(town, ann.username, ann.id, ann.tenant, ann.tenant_id)
    await town.sign_in(other_device)
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(ann.socket())
        stays = await stack.enter_async_context(other_device.socket())
        stream = await stack.enter_async_context(
            town.http.stream("GET", f"{town.urls[gateway]}/api/v1/jobs/{job}/events", headers=ann.headers)
        )
        lines = stream.aiter_lines()
        while await anext(lines) != "event: progress":
            pass

        await ann.at(1 - gateway).post("/auth/logout", 204)
        async with asyncio.timeout(EVERYWHERE_S):
            assert await socket.closed() == 4001
            rest = [line async for line in lines]
        assert "event: completed" not in rest
        await eventually(ann.refused, within_s=EVERYWHERE_S, saying="the token is refused at both gateways")
        await stays.send(type="ping")
        await stays.next("pong")
    assert (await town.refresh(ann.tokens["refresh_token"])).status_code == 401
    await other_device.post(f"/api/v1/jobs/{job}/cancel", 202)


async def test_an_ended_membership_ends_the_persons_connections(town: Town) -> None:
    ann = await town.founder()
    bob = await town.member(ann)
    async with bob.socket() as here, bob.at(1).socket() as there, ann.socket() as founders:
        await ann.call("DELETE", f"/api/v1/tenants/{ann.tenant_id}/members/{bob.id}", 204)
        assert [await one.closed(within_s=EVERYWHERE_S) for one in (here, there)] == [4003, 4003]
        await eventually(bob.refused, within_s=EVERYWHERE_S, saying="the former member's token is refused")
        await founders.send(type="ping")
        await founders.next("pong")
    assert (await town.refresh(bob.tokens["refresh_token"])).status_code == 401
    assert not await ann.refused()


async def test_a_suspended_tenant_is_refused_until_it_is_resumed(town: Town) -> None:
    ann = await town.founder()
    bob = await town.member(ann)
    stranger = await town.founder()
    async with ann.socket() as anns, bob.at(1).socket() as bobs, stranger.socket() as others:
        await town.set_tenant(ann.tenant_id, status="suspended")
        assert [await one.closed(within_s=EVERYWHERE_S) for one in (anns, bobs)] == [4003, 4003]
        for person in (ann, bob):
            await eventually(person.refused, within_s=EVERYWHERE_S, saying=f"{person.username} is refused")
        await others.send(type="ping")
        await others.next("pong")

    await town.set_tenant(ann.tenant_id, status="active")
    await town.sign_in(bob)
    await eventually(lambda: admitted(bob), within_s=10, saying="the resumed tenant's people are admitted")
    async with bob.at(1).socket() as again:
        await again.send(type="ping")
        await again.next("pong")


async def test_changed_roles_end_the_tokens_from_before_and_come_with_the_refresh(town: Town) -> None:
    ann = await town.founder()
    bob = await town.member(ann)
    before = bob.tokens
    await ann.call("PUT", f"/api/v1/tenants/{ann.tenant_id}/members/{bob.id}", 200, json={"roles": ["moderator"]})
    await eventually(bob.refused, within_s=EVERYWHERE_S, saying="the token with the old roles is refused")
    refreshed = await town.refresh(before["refresh_token"], gateway=1)
    assert refreshed.status_code == 200, refreshed.text
    bob.tokens = refreshed.json()
    assert bob.tokens["session_id"] == before["session_id"]
    assert "chat:moderate" in bob.tokens["scope"].split()
    await eventually(lambda: admitted(bob), within_s=10, saying="the token with the new roles is admitted")


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_logout_is_known_everywhere_in_time_when_no_notice_arrives(fleet: Fleet, town: Town, how: str) -> None:
    ann = await town.founder()
    async with ann.socket() as socket, deaf(fleet, how):
        await ann.post("/auth/logout", 204)
        async with asyncio.timeout(EVERYWHERE_S):
            for gateway in (0, 1):
                await eventually(ann.at(gateway).refused)
            assert await socket.closed() == 4001


async def test_logout_all_ends_every_session_everywhere(town: Town) -> None:
    ann = await town.founder()
    elsewhere = Person(town, ann.username, ann.id, ann.tenant, ann.tenant_id)
    await town.sign_in(elsewhere)
    ended = (await ann.at(1).post("/auth/logout-all", 200)).json()["sessions_ended"]
    assert ended >= 2
    for person in (ann, elsewhere):
        await eventually(person.refused, within_s=EVERYWHERE_S, saying="each session's token is refused")
        assert (await town.refresh(person.tokens["refresh_token"])).status_code == 401
    await town.sign_in(ann)
    await eventually(lambda: admitted(ann), within_s=10, saying="a new sign-in is admitted")


async def test_a_page_is_signed_in_by_cookie(town: Town) -> None:
    ann = await town.founder()
    here, there = town.urls
    body = {"username": ann.username, "password": PASSWORD, "tenant": ann.tenant, "cookie": True}
    signed_in = await town.http.post(f"{here}/auth/login", json=body)
    assert "refresh_token" not in signed_in.json()
    csrf = signed_in.json()["csrf_token"]
    cookie, *flags = signed_in.headers["set-cookie"].split("; ")
    assert cookie.startswith("flotilla_refresh=")
    assert {"HttpOnly", "Path=/auth", "SameSite=strict"} <= set(flags)

    public = town.fleet.around.public_url
    scheme, _, host = public.partition("://")

    async def refreshed(**headers: str) -> tuple[int, str | None]:
        town.http.cookies.clear()  # only the cookie below
        reply = await town.http.post(f"{there}/auth/refresh", json={}, headers={"Cookie": cookie, **headers})
        return reply.status_code, reply.json().get("code")

    refused = (403, "csrf_refused")
    assert await refreshed() == refused
    assert await refreshed(Origin=public) == refused
    assert await refreshed(**{"X-CSRF-Token": csrf}) == refused
    assert await refreshed(Origin="https://evil.example", **{"X-CSRF-Token": csrf}) == refused
    assert await refreshed(Origin=f"{scheme}://no-{ann.tenant}.{host}", **{"X-CSRF-Token": csrf}) == refused
    for origin in (public, f"{scheme}://{ann.tenant}.{host}"):
        assert await refreshed(Origin=origin, **{"X-CSRF-Token": csrf}) == (200, None), origin


async def test_a_ticket_stands_for_its_person_on_one_path(town: Town) -> None:
    ann = await town.founder()
    file = await ann.upload("boats.csv", b"city,boats\nKiel,12\n")
    content = f"/api/v1/files/{file['id']}/content"

    async def ticket(path: str) -> str:
        return str((await ann.post("/auth/tickets", 201, json={"path": path})).json()["ticket"])

    async def opened(path: str, given: str, gateway: int = 0) -> int:
        return (await town.http.get(town.urls[gateway] + path, params={"ticket": given})).status_code

    given = await ticket(content)
    assert [await opened(content, given, gateway) for gateway in (0, 1)] == [200, 200]
    assert await opened(f"/api/v1/files/{file['id']}", given) == 401
    assert await opened(content, await ticket("/ws")) == 401
    await ann.post("/auth/logout", 204)
    assert await opened(content, given, 1) == 401


async def admitted(person: Person) -> bool:
    replies = [await person.at(gateway).get("/api/v1/profile", None) for gateway in (0, 1)]
    return all(reply.status_code == 200 for reply in replies)
