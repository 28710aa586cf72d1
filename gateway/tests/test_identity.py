"""Authentication at the edge: which tokens and tickets are valid, what ends them, and which scopes a route requires."""

import hmac
import time
from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import Any

import httpx2
import jwt
import orjson
import pytest

from shared.identity.keys import generate_key
from shared.testing.fakes import FEED
from shared.testing.waiting import eventually

SIGNED = "/api/v1/rooms/7/messages"


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_without_a_token_it_is_a_401_with_a_challenge(client: Any, upstream: Any) -> None:
    reply = await client.get(SIGNED)
    assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert reply.headers["x-request-id"] == reply.json()["request_id"]
    assert upstream.calls == 0


def _unsigned(token: str) -> str:
    return jwt.encode(jwt.decode(token, options={"verify_signature": False}), "", "none", {"typ": "at+jwt", "kid": "x"})


def _by_public_key(token: str, jwk: dict[str, str]) -> str:
    """HS256 with the public key as its secret: what a verifier that lets the token choose would take."""
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    head = {"alg": "HS256", "typ": "at+jwt", "kid": header["kid"]}
    signed = b".".join(urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=") for part in (head, claims))
    mac = hmac.new(orjson.dumps(jwk), signed, "sha256").digest()
    return b".".join([signed, urlsafe_b64encode(mac).rstrip(b"=")]).decode()


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(lambda s, p: "garbage", id="no token"),
        pytest.param(lambda s, p: s.token(p)[:-6] + "AAAAAA", id="another signature"),
        pytest.param(lambda s, p: s.token(p, claims={"person_exp": int(time.time()) - 60}), id="expired"),
        pytest.param(lambda s, p: s.token(p, audience="https://elsewhere"), id="for another audience"),
        pytest.param(lambda s, p: s.token(p, issuer="https://elsewhere"), id="from another issuer"),
        pytest.param(lambda s, p: s.token(p, key=generate_key()), id="by an unknown key"),
        pytest.param(lambda s, p: s.people.signer("auth").sign_for(p, "gateway"), id="an internal token"),
        pytest.param(lambda s, p: _unsigned(s.token(p)), id="unsigned"),
        pytest.param(lambda s, p: _by_public_key(s.token(p), s.key.public_jwk), id="algorithm confusion"),
        pytest.param(lambda s, p: s.token(p) + "x" * 10_000, id="too long"),
        pytest.param(lambda s, p: "é.é.é", id="not ASCII"),
    ],
)
async def test_an_invalid_token_is_a_401(client: Any, sign_in: Any, upstream: Any, forged: Any) -> None:
    token = forged(sign_in, sign_in.principal("ann"))
    reply = await client.get(SIGNED, headers={"Authorization": f"Bearer {token}".encode()})
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_token")
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]
    assert upstream.calls == 0


async def test_another_scheme_and_a_repeated_header_are_refused(client: Any, sign_in: Any, upstream: Any) -> None:
    basic = await client.get(SIGNED, headers={"Authorization": "Basic YTpi"})
    assert basic.status_code == 401
    twice = await client.get(SIGNED, headers=[*sign_in("ann").items(), *sign_in("bob").items()])
    assert twice.status_code == 400
    assert upstream.calls == 0


async def test_a_token_in_a_query_a_form_or_a_cookie_is_not_looked_at(client: Any, sign_in: Any, upstream: Any) -> None:
    token = sign_in.token(sign_in.principal("ann"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for reply in (
        await client.get(f"{SIGNED}?access_token={token}"),
        await client.post(SIGNED, content=f"access_token={token}", headers=form),
        await client.get(SIGNED, headers={"Cookie": f"access_token={token}"}),
    ):
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")
    assert upstream.calls == 0


async def test_a_missing_scope_is_a_403_that_names_it(client: Any, sign_in: Any, upstream: Any) -> None:
    reply = await client.post(SIGNED, json={}, headers=sign_in("ann", scopes=["chat:read"]))
    assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")
    assert 'error="insufficient_scope", scope="chat:write"' in reply.headers["www-authenticate"]
    assert upstream.calls == 0
    any_of = await client.delete("/api/v1/files/1", headers=sign_in("ann", scopes=["files:delete"]))
    assert any_of.status_code == 200


async def test_only_the_ended_session_is_refused(client: Any, sign_in: Any, auth: Any) -> None:
    principal = sign_in.principal("ann")
    ended = {"Authorization": f"Bearer {sign_in.token(principal)}"}
    other = sign_in("ann")
    assert (await client.get(SIGNED, headers=ended)).status_code == 200
    auth.end_session(principal.session_id)

    async def refused() -> bool:
        return bool((await client.get(SIGNED, headers=ended)).status_code == 401)

    await eventually(refused, within_s=2)
    assert (await client.get(SIGNED, headers=other)).status_code == 200


async def test_a_change_of_roles_and_a_suspended_tenant_end_tokens(client: Any, sign_in: Any, users: Any) -> None:
    ann, bob = sign_in.principal("ann", tenant="acme"), sign_in.principal("bob", tenant="globex")
    users.revoke("membership", tenant_id=str(ann.tenant_id), user_id=str(ann.user_id), roles=["admin"], version=2)
    users.revoke("tenant", id=str(bob.tenant_id), suspended=True, version=2)
    for principal in (ann, bob):
        headers = {"Authorization": f"Bearer {sign_in.token(principal)}"}

        async def refused(headers: dict[str, str] = headers) -> bool:
            return bool((await client.get(SIGNED, headers=headers)).status_code == 401)

        await eventually(refused, within_s=2)
    for newer in (replace(ann, membership_version=2), replace(bob, tenant_version=2)):
        headers = {"Authorization": f"Bearer {sign_in.token(newer)}"}
        assert (await client.get(SIGNED, headers=headers)).status_code == 200


async def test_stale_feeds_close_fresh_routes_only(open_edge: Any, sign_in: Any, users: Any) -> None:
    edge = await open_edge(revocations={"feeds": ("auth", "users"), "interval_s": 0.05, "stale_after_s": 0.3})
    users.failing.add(FEED)
    admin = sign_in("ann", roles=["admin"])
    async with httpx2.AsyncClient(base_url=edge.url) as client:

        async def closed() -> bool:
            return (await client.get("/api/v1/tenants/1", headers=admin)).status_code == 503

        await eventually(closed)
        assert (await client.get(SIGNED, headers=admin)).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        users.failing.clear()
        await eventually(lambda: _opened(client, admin))


async def test_stale_feeds_close_all_routes_if_configured(open_edge: Any, sign_in: Any, users: Any) -> None:
    stale = {"feeds": ("auth", "users"), "interval_s": 0.05, "stale_after_s": 0.3, "on_stale": "refuse"}
    edge = await open_edge(revocations=stale)
    users.failing.add(FEED)
    async with httpx2.AsyncClient(base_url=edge.url) as client:

        async def closed() -> bool:
            return bool((await client.get(SIGNED, headers=sign_in("ann"))).status_code == 503)

        await eventually(closed)
        reply = await client.get(SIGNED, headers=sign_in("ann"))
        assert reply.json()["code"] == "service_unavailable"
        assert int(reply.headers["retry-after"]) >= 1
        assert (await client.post("/auth/login", json={})).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        checks = (await edge.gateway.checks.detailed()).checks
        assert (checks["revocations_age"].status, checks["revocations"].status) == ("failing", "ok")


async def _opened(client: Any, headers: dict[str, str]) -> bool:
    return bool((await client.get("/api/v1/tenants/1", headers=headers)).status_code == 200)


async def test_a_ticket_opens_exactly_its_path_for_reading(client: Any, sign_in: Any, auth: Any) -> None:
    path = "/api/v1/files/1/content"
    principal = sign_in.principal("ann")
    claims = jwt.decode(sign_in.token(principal), options={"verify_signature": False})
    auth.tickets[("t1", path)] = claims
    reply = await client.get(f"{path}?ticket=t1&download=1", headers={"X-Request-ID": "mine", "traceparent": TRACE})
    assert auth.redeemed[0].headers["x-request-id"] == "mine"
    assert auth.redeemed[0].headers["traceparent"].startswith(TRACE[:36])
    assert (reply.status_code, reply.json()["query"]) == (200, "download=1")
    assert (await client.get("/api/v1/files/2/content?ticket=t1")).status_code == 401
    assert (await client.get("/api/v1/files/1?ticket=t1")).status_code == 401
    assert (await client.get(f"{path}?ticket=wrong")).status_code == 401
    auth.end_session(principal.session_id)

    async def refused() -> bool:
        return bool((await client.get(f"{path}?ticket=t1")).status_code == 401)

    await eventually(refused, within_s=2)
