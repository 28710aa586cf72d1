"""API keys at the edge: redeemed once a minute, ended within two seconds, scoped like their person."""

import asyncio
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from gateway.policy import api_keys
from shared.identity import Principal
from shared.identity.api_keys import CLIENT_ID, generate
from shared.ids import new_id
from shared.testing.waiting import eventually

SIGNED = "/api/v1/rooms/7/messages"
FLOTILLA = Subprotocol("flotilla.v1")


@pytest.fixture
def make_key(sign_in: Any, auth: Any) -> Any:
    """A key of a person that auth-service knows, and the person."""

    def make(name: str = "ann", **about: Any) -> tuple[dict[str, str], Principal]:
        key, person = generate().key, replace(sign_in.principal(name, **about), client_id=CLIENT_ID)
        renew(auth, key, person)
        return {"X-API-Key": key}, person

    return make


def renew(auth: Any, key: str, person: Principal) -> None:
    """What auth-service answers about the key from now on."""
    claims = {name: value for name, value in person.to_claims().items() if name != "person_exp"}
    auth.api_keys[key] = claims | {"iss": person.issuer, "exp": int(time.time()) + 600, "jti": str(new_id())}


async def _refused(client: Any, headers: dict[str, str]) -> bool:
    return bool((await client.get(SIGNED, headers=headers)).status_code == 401)


async def test_the_service_sees_the_person_and_never_the_key(client: Any, make_key: Any, people: Any) -> None:
    headers, person = make_key()
    reply = await client.get(SIGNED, headers=headers | {"x_api_key": "another"})
    assert reply.status_code == 200
    seen = dict(reply.json()["headers"])
    assert not {"x-api-key", "x_api_key"} & seen.keys()
    assert headers["X-API-Key"] not in reply.text
    assert seen["authorization"].startswith("Bearer ")
    assert reply.headers["x-ratelimit-tier"] == person.tier


async def test_a_key_is_redeemed_once_however_many_requests_come_at_once(
    open_edge: Any, make_key: Any, auth: Any
) -> None:
    edge = await open_edge(limits={"scale": 1, "anonymous": 1})
    headers, _ = make_key()
    async with httpx2.AsyncClient(base_url=edge.url, timeout=10) as client:
        replies = await asyncio.gather(*(client.get(SIGNED, headers=headers) for _ in range(20)))
    assert {reply.status_code for reply in replies} == {200}
    assert len(auth.redeemed_keys) == 1


async def test_a_key_is_remembered_for_a_while_only(
    client: Any, make_key: Any, auth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api_keys.REMEMBERED_S <= 60
    monkeypatch.setattr(api_keys, "REMEMBERED_S", 0.2)
    headers, _ = make_key()
    assert (await client.get(SIGNED, headers=headers)).status_code == 200
    auth.api_keys.clear()
    await eventually(lambda: _refused(client, headers), within_s=2)


async def test_a_revoked_key_ends_within_two_seconds_at_every_gateway(open_edge: Any, make_key: Any, auth: Any) -> None:
    headers, person = make_key()
    other, _ = make_key()
    edges = [await open_edge(), await open_edge()]
    for edge in edges:
        async with httpx2.AsyncClient(base_url=edge.url) as client:
            assert (await client.get(SIGNED, headers=headers)).status_code == 200
    del auth.api_keys[headers["X-API-Key"]]
    auth.end_session(person.session_id)
    revoked_at = time.monotonic()
    for edge in edges:
        async with httpx2.AsyncClient(base_url=edge.url) as client:
            await eventually(lambda client=client: _refused(client, headers), within_s=2)
            assert (await client.get(SIGNED, headers=other)).status_code == 200
    assert time.monotonic() - revoked_at < 2


async def test_a_stream_that_a_key_opened_ends_with_it(client: Any, make_key: Any, auth: Any, upstream: Any) -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    upstream.handler = endless
    headers, person = make_key()
    async with client.stream("GET", "/api/v1/jobs/1/events", headers=headers) as reply:
        pieces = reply.aiter_raw()
        assert await anext(pieces) == b"data: 1\n\n"
        auth.end_session(person.session_id)
        async with asyncio.timeout(2):
            assert [piece async for piece in pieces] == []


async def test_a_program_opens_a_socket_by_its_key(edge: Any, make_key: Any, sign_in: Any, upstream: Any) -> None:
    async def accepting(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "subprotocol": "flotilla.v1"})
        await send({"type": "websocket.send", "text": str(scope["headers"])})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    upstream.handler = accepting
    headers, _ = make_key()
    url = f"{edge.ws_url}/ws"
    async with connect(url, subprotocols=[FLOTILLA], additional_headers=headers, proxy=None) as socket:
        seen = await socket.recv()
    assert headers["X-API-Key"] not in seen
    bearer = Subprotocol(f"bearer.{sign_in.token(sign_in.principal('ann'))}")
    for shown, offered, status in (
        ({"X-API-Key": generate().key}, [FLOTILLA], 401),
        (headers, [FLOTILLA, bearer], 400),
    ):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, subprotocols=offered, additional_headers=shown, proxy=None)
        assert refused.value.response.status_code == status


async def test_a_new_epoch_or_role_ends_what_was_remembered_and_not_the_key(
    client: Any, make_key: Any, auth: Any, users: Any
) -> None:
    headers, person = make_key(scopes=["chat:read", "chat:write"])
    key = headers["X-API-Key"]
    assert (await client.get(SIGNED, headers=headers)).status_code == 200
    renew(auth, key, replace(person, user_epoch=1))
    auth.revoke("user", id=str(person.user_id), epoch=1)

    async def redeemed_again() -> bool:
        assert (await client.get(SIGNED, headers=headers)).status_code == 200
        return len(auth.redeemed_keys) == 2

    await eventually(redeemed_again, within_s=2)
    renew(auth, key, replace(person, user_epoch=1, membership_version=2, scopes=frozenset({"chat:read"})))
    users.revoke("membership", tenant_id=str(person.tenant_id), user_id=str(person.user_id), roles=["user"], version=2)

    async def narrowed() -> bool:
        reply = await client.post(SIGNED, json={}, headers=headers)
        assert reply.status_code in (200, 403)
        return bool(reply.status_code == 403)

    await eventually(narrowed, within_s=2)
    assert (await client.get(SIGNED, headers=headers)).status_code == 200


async def test_a_newer_membership_makes_auth_service_ask(client: Any, make_key: Any, auth: Any, users: Any) -> None:
    """Its event may be late: until users-service is asked, auth-service answers by the old version."""
    headers, person = make_key()
    users.revoke("membership", tenant_id=str(person.tenant_id), user_id=str(person.user_id), roles=["user"], version=2)
    await eventually(lambda: _refused(client, headers), within_s=2)
    assert auth.redeemed_keys[-1].body["confirm"] is True


async def test_both_credentials_or_a_repeated_key_are_a_400(
    client: Any, make_key: Any, sign_in: Any, upstream: Any, auth: Any
) -> None:
    headers, _ = make_key()
    for path in (SIGNED, "/auth/login"):
        both = await client.get(path, headers=headers | sign_in("ann"))
        assert (both.status_code, both.json()["code"]) == (400, "malformed_request")
    twice = await client.get(SIGNED, headers=[*headers.items(), *headers.items()])
    assert twice.status_code == 400
    assert (upstream.calls, auth.redeemed_keys) == (0, [])


async def test_wrong_keys_count_against_the_address_before_auth_service_is_asked(
    open_edge: Any, make_key: Any, auth: Any
) -> None:
    edge = await open_edge(limits={"scale": 1, "anonymous": 5})
    headers, _ = make_key()
    async with httpx2.AsyncClient(base_url=edge.url, timeout=10) as client:
        assert (await client.get(SIGNED, headers=headers)).status_code == 200
        guesses = (client.get(SIGNED, headers={"X-API-Key": generate().key}) for _ in range(40))
        replies = await asyncio.gather(*guesses)
        assert Counter(reply.status_code for reply in replies) == {401: 5, 429: 35}
        assert len(auth.redeemed_keys) == 6
        assert (await client.get(SIGNED, headers=headers)).status_code == 200  # it is remembered


@pytest.mark.parametrize("key", ["", "x", "flk_", generate().key[:-1], generate().key.swapcase(), "a" * 5000])
async def test_a_misspelled_key_costs_no_call(client: Any, auth: Any, upstream: Any, key: str) -> None:
    reply = await client.get(SIGNED, headers={"X-API-Key": key})
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_token")
    assert (auth.redeemed_keys, upstream.calls) == ([], 0)


async def test_scopes_and_tenant_rule_apply(client: Any, make_key: Any) -> None:
    headers, _ = make_key(scopes=["chat:read"])
    assert (await client.get(SIGNED, headers=headers)).status_code == 200
    assert (await client.post(SIGNED, json={}, headers=headers)).json()["code"] == "insufficient_scope"
    other = await client.get(SIGNED, headers=headers | {"X-Tenant-ID": "globex"})
    assert other.json()["code"] == "tenant_mismatch"


async def test_a_persons_keys_share_a_bucket_beside_their_own(open_edge: Any, make_key: Any, sign_in: Any) -> None:
    edge = await open_edge(limits={"scale": 1, "anonymous": 100})
    by_keys = [make_key(tier="free")[0] for _ in range(2)]
    callers = [*by_keys, sign_in("ann", tier="free"), make_key("bob", tier="free")[0]]
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        replies = [await client.get(SIGNED, headers=headers) for headers in callers]
    assert [reply.headers["x-ratelimit-remaining"] for reply in replies] == ["99", "98", "99", "99"]


async def test_a_key_manages_no_account(client: Any, make_key: Any, upstream: Any, auth: Any) -> None:
    headers, _ = make_key(roles=["system"])
    for method, path in (
        ("GET", "/auth/api-keys"),
        ("POST", "/auth/api-keys"),
        ("GET", "/auth/sessions"),
        ("POST", "/auth/password"),
        ("POST", "/auth/tickets"),
        ("GET", "/oauth2/consents"),
        ("GET", "/oauth2/clients"),
    ):
        reply = await client.request(method, path, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (403, "api_key_not_allowed"), path
    assert (upstream.calls, auth.redeemed_keys) == (0, [])
