"""History and sending by HTTP."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from .conftest import MakeRoom, Members, Said, Talking


async def history(client: httpx2.AsyncClient, room: str, query: str, headers: dict[str, str]) -> tuple[list[int], bool]:
    reply = await client.get(f"/api/v1/rooms/{room}/messages{query}", headers=headers)
    assert reply.status_code == 200, reply.text
    page = reply.json()
    return [message["seq"] for message in page["items"]], page["has_more"]


async def test_history_is_paged_both_ways_oldest_first(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom, said: Said
) -> None:
    room = await make_room("ann")
    await said(room, 60)
    ann = members("ann")
    assert await history(client, room, "", ann) == (list(range(11, 61)), True)
    assert await history(client, room, "?after=0&limit=20", ann) == (list(range(1, 21)), True)
    assert await history(client, room, "?after=40&limit=20", ann) == (list(range(41, 61)), False)
    assert await history(client, room, "?after=60", ann) == ([], False)
    assert await history(client, room, "?before=11&limit=10", ann) == (list(range(1, 11)), False)
    assert await history(client, room, "?before=30&limit=10", ann) == (list(range(20, 30)), True)


async def test_a_message_sent_by_http_is_heard(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom, connected: Talking, second_url: str
) -> None:
    room = await make_room("ann", "bob")
    body = {"text": "ahoy", "client_id": uuid4().hex}
    async with connected("bob", at=second_url) as bob:
        await bob.subscribe(room)
        first, again = [
            await client.post(f"/api/v1/rooms/{room}/messages", json=body, headers=members("ann")) for _ in range(2)
        ]
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        assert await bob.expect("message") == {"type": "message", **first.json()}


async def test_the_rate_holds_by_http_too(client: httpx2.AsyncClient, members: Members, make_room: MakeRoom) -> None:
    room = await make_room("ann")

    async def sent(number: int) -> httpx2.Response:
        body = {"text": "ahoy", "client_id": str(number)}
        return await client.post(f"/api/v1/rooms/{room}/messages", json=body, headers=members("ann"))

    replies = await asyncio.gather(*map(sent, range(250)))  # at once: one after another may be no faster than the rate
    refused = [reply for reply in replies if reply.status_code != 201]
    assert len(replies) - len(refused) >= 40
    assert {(reply.status_code, reply.json()["code"]) for reply in refused} == {(429, "rate_limited")}
    assert {reply.headers["retry-after"] for reply in refused} == {"1"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": "ahoy"},
        {"text": "", "client_id": "1"},
        {"text": "x" * 4001, "client_id": "1"},
        {"text": "x", "client_id": "x" * 65},
        {"text": "a\0b", "client_id": "1"},
        {"text": "ahoy", "client_id": 1},
        {"text": "ahoy", "client_id": "1", "loud": True},
    ],
)
async def test_a_message_that_cannot_be_is_422(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom, body: Any
) -> None:
    room = await make_room("ann")
    reply = await client.post(f"/api/v1/rooms/{room}/messages", json=body, headers=members("ann"))
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_input"), reply.text


async def test_a_text_is_stored_composed(client: httpx2.AsyncClient, members: Members, make_room: MakeRoom) -> None:
    body = {"text": "Cafe\u0301", "client_id": "1"}
    reply = await client.post(f"/api/v1/rooms/{await make_room('ann')}/messages", json=body, headers=members("ann"))
    assert reply.json()["text"] == "Caf\u00e9"
