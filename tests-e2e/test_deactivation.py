"""A deactivated account is over everywhere within two seconds, and a mailed link brings it back."""

import asyncio
import re
import time
from contextlib import AsyncExitStack
from typing import Any

import httpx2
from people import PASSWORD, Person, Town

from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

EVERYWHERE_S = 2.0


async def test_everything_that_acts_for_the_person_ends(town: Town) -> None:
    ann = await town.founder()
    key = (await ann.post("/auth/api-keys", 201, json={"name": "a program", "scopes": ["profile:read"]})).json()["key"]
    other_device = Person(town, ann.username, ann.id, ann.tenant, ann.tenant_id)
    await town.sign_in(other_device)
    job = await ann.start_job("wait", seconds=30, steps=10)
    assert await statuses(town, key) == {200}
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(one.socket()) for one in (ann, other_device.at(1))]
        stream = await stack.enter_async_context(
            town.http.stream("GET", f"{town.urls[1]}/api/v1/jobs/{job}/events", headers=ann.headers)
        )
        lines = stream.aiter_lines()
        while await anext(lines) != "event: progress":
            pass

        await ann.post("/auth/deactivate", 204)
        deactivated_at = time.monotonic()
        async with asyncio.timeout(EVERYWHERE_S):
            assert [await socket.closed() for socket in sockets] == [4001, 4001]
            rest = [line async for line in lines]
        assert "event: completed" not in rest

        async def refused() -> bool:
            return await statuses(town, key) == {401} and await ann.refused() and await other_device.refused()

        await eventually(refused, within_s=EVERYWHERE_S, saying="both gateways refuse the tokens and the key")
        assert time.monotonic() - deactivated_at < EVERYWHERE_S
    for session in (ann, other_device):
        assert (await town.refresh(session.tokens["refresh_token"], gateway=1)).status_code == 401
    assert await sign_in_code(town, ann) == "account_deactivated"

    await reactivate(town, ann)
    assert await ann.refused()
    await town.sign_in(ann)
    assert (await ann.get("/auth/api-keys")).json()["items"] == []
    assert await statuses(town, key) == {401}
    assert (await ann.get("/api/v1/profile")).json()["user_id"] == ann.id


async def test_an_operator_deactivates_an_account(town: Town, fleet: Fleet) -> None:
    founder = await town.founder()
    ben = await town.member(founder)
    async with ben.socket() as socket:
        await fleet.command("auth", f"accounts deactivate {ben.username} --reason abuse")
        assert await socket.closed(within_s=EVERYWHERE_S) == 4001
    await eventually(ben.refused, within_s=EVERYWHERE_S, saying="both gateways refuse the token")
    members = await founder.all_of(f"/api/v1/tenants/{founder.tenant_id}/members")
    assert {"user_id": ben.id, "status": "active"}.items() <= by_id(members)[ben.id].items()
    await fleet.command("auth", f"accounts reactivate {ben.username} --reason mistaken")
    await town.sign_in(ben)


async def statuses(town: Town, key: str) -> set[int]:
    """What the gateways answer to the key."""
    asked = [town.http.get(f"{url}/api/v1/profile", headers={"X-API-Key": key}) for url in town.urls]
    return {reply.status_code for reply in await asyncio.gather(*asked)}


async def sign_in_code(town: Town, person: Person) -> str:
    """The code of the problem that answers a sign-in."""
    body = {"username": person.username, "password": PASSWORD}
    reply: httpx2.Response = await town.http.post(f"{town.urls[0]}/auth/login", json=body)
    return str(reply.json()["code"])


async def reactivate(town: Town, person: Person) -> None:
    """By the link that is mailed to the person."""
    address = f"{person.username}@example.com"
    assert (await town.http.post(f"{town.urls[0]}/auth/reactivate", json={"email": address})).status_code == 202

    async def token() -> str | None:
        caught: list[dict[str, Any]] = (await town.http.get(f"{town.fleet.mail_url}/messages")).json()
        texts = [str(mail["text"]) for mail in caught if mail["to"] == [address]]
        return next(
            (found[1] for text in texts if (found := re.search(r"reactivate/confirm\?token=(\S+)", text))), None
        )

    body = {"token": await eventually(token, saying=f"mail to {address}")}
    reply = await town.http.post(f"{town.urls[1]}/auth/reactivate/confirm", json=body)
    assert reply.status_code == 204, reply.text


def by_id(members: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {member["user_id"]: member for member in members}
