"""Tickets: for one path, for 30 seconds, at /ws once, never longer than their session."""

import asyncio
from typing import Any

import pytest

from shared.identity import Principal

from .door import Door, claims_of, principal_of, problem

PICTURE = "/api/v1/users/0192f0c1-2b3c-7d4e-8f50-617283940a1b/avatar"


async def _ticket(door: Door, tokens: dict[str, Any], path: str = "/ws") -> str:
    reply = await door.client.post("/auth/tickets", json={"path": path}, headers=door.bearer(tokens))
    assert reply.status_code == 201, reply.text
    assert reply.json().keys() == {"ticket", "expires_in"}
    assert reply.json()["expires_in"] == 30
    ticket: str = reply.json()["ticket"]
    return ticket


async def _redeem(door: Door, ticket: str, path: str = "/ws") -> Any:
    body = {"ticket": ticket, "path": path}
    return await door.client.post("/internal/tickets/redeem", json=body, headers=door.people.service("gateway"))


async def test_a_ticket_stands_for_its_token(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    reply = await _redeem(door, await _ticket(door, tokens))
    claims = reply.json()["claims"]
    own = claims_of(tokens)
    assert claims == {name: value for name, value in own.items() if name != "iat"}
    assert Principal.from_claims(claims) == principal_of(tokens)


async def test_at_ws_it_is_spent_once_however_many_try(door: Door) -> None:
    ticket = await _ticket(door, await door.signed_up("ann", slug="acme"))
    replies = await asyncio.gather(*(_redeem(door, ticket) for _ in range(10)))
    assert sorted(reply.status_code for reply in replies) == [200] + [401] * 9
    assert problem(await _redeem(door, ticket)) == (401, "invalid_token")


async def test_elsewhere_it_serves_until_it_expires(door: Door) -> None:
    ticket = await _ticket(door, await door.signed_up("ann", slug="acme"), PICTURE)
    for _ in range(3):
        assert (await _redeem(door, ticket, PICTURE)).status_code == 200
    await door.run("UPDATE tickets SET expires_at = expires_at - interval '31 seconds'")
    assert problem(await _redeem(door, ticket, PICTURE)) == (401, "invalid_token")


async def test_it_opens_no_other_path_and_no_guess_opens_any(door: Door) -> None:
    ticket = await _ticket(door, await door.signed_up("ann", slug="acme"), PICTURE)
    for wrong, path in ((ticket, "/ws"), (ticket, PICTURE + "/"), (ticket[:-1], PICTURE), ("x", PICTURE)):
        assert problem(await _redeem(door, wrong, path)) == (401, "invalid_token")


async def test_it_ends_with_its_session(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    ticket = await _ticket(door, tokens, PICTURE)
    await door.client.post("/auth/logout", headers=door.bearer(tokens))
    assert problem(await _redeem(door, ticket, PICTURE)) == (401, "invalid_token")
    reply = await door.client.post("/auth/tickets", json={"path": "/ws"}, headers=door.bearer(tokens))
    assert problem(reply) == (401, "invalid_token")


async def test_only_its_hash_is_stored(door: Door) -> None:
    ticket = await _ticket(door, await door.signed_up("ann", slug="acme"))
    stored = await door.rows("SELECT encode(digest, 'escape') AS digest, claims::text AS claims FROM tickets")
    assert ticket not in str(stored)


async def test_only_paths_that_need_one_get_one(door: Door) -> None:
    bearer = door.bearer(await door.signed_up("ann", slug="acme"))
    jobs = "/api/v1/jobs/0192f0c1-2b3c-7d4e-8f50-617283940a1b"
    for path in (f"{jobs}/events", "/api/v1/files/x/content", "/api/v1/profile/avatar"):
        assert (await door.client.post("/auth/tickets", json={"path": path}, headers=bearer)).status_code == 201, path
    for refused in (
        *("/", "/auth/me", jobs, "/ws/", "ws", "/events", "//x/events", "/../x/events", "/x/../events"),
        *("/x/events?a=1", "/x/%65vents", "http://x/events", "/x/events\n", "/x/" + "y" * 600 + "/events", 7, None),
    ):
        reply = await door.client.post("/auth/tickets", json={"path": refused}, headers=bearer)
        assert problem(reply) == (422, "invalid_input"), refused


@pytest.mark.parametrize("caller", ["users", "chat", "tasks"])
async def test_only_the_gateway_redeems(door: Door, caller: str) -> None:
    body = {"ticket": "x", "path": "/ws"}
    reply = await door.client.post("/internal/tickets/redeem", json=body, headers=door.people.service(caller))
    assert problem(reply) == (403, "forbidden")
