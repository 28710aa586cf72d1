"""Tokens that are bound to a key (DPoP, RFC 9449) at the edge: each request proves possession of the key, once."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from shared.dev.servers.valkey import Valkey
from shared.identity import used_proofs
from shared.identity.keys import generate_key
from shared.testing.proofs import ProofKey
from shared.testing.waiting import eventually

PUBLIC_URL = "http://localhost:8000"
SIGNED = "/api/v1/rooms/7/messages"
URL = f"{PUBLIC_URL}{SIGNED}"
FLOTILLA = "flotilla.v1"


@dataclass(frozen=True)
class Ann:
    """A person, whose token is bound to her key."""

    token: str
    session_id: Any
    key: ProofKey = field(default_factory=ProofKey)

    def proof(self, method: str = "GET", url: str = URL, **changes: Any) -> str:
        return self.key.proof(method, url, changes.pop("token", self.token), **changes)

    def headers(self, proof: str | None = None) -> dict[str, str]:
        return {"Authorization": f"DPoP {self.token}", "DPoP": proof or self.proof()}


@pytest.fixture
def ann(sign_in: Any) -> Ann:
    key = ProofKey()
    principal = replace(sign_in.principal("ann"), dpop_jkt=key.jkt)
    return Ann(sign_in.token(principal), principal.session_id, key)


def refusal(reply: httpx2.Response) -> tuple[int, str]:
    assert reply.headers["www-authenticate"].startswith('DPoP realm="flotilla"'), reply.headers["www-authenticate"]
    assert 'algs="ES256 RS256 EdDSA"' in reply.headers["www-authenticate"]
    assert f'error="{reply.json()["code"]}"' in reply.headers["www-authenticate"]
    return reply.status_code, reply.json()["code"]


async def test_a_bound_token_is_accepted_with_a_proof_that_is_not_forwarded(client: Any, ann: Ann) -> None:
    for scheme in ("DPoP", "dpop", "DPOP"):
        proof = ann.proof()
        reply = await client.get(SIGNED, headers={"Authorization": f"{scheme} {ann.token}", "DPoP": proof})
        assert reply.status_code == 200, reply.text
        headers = dict(reply.json()["headers"])
        assert "dpop" not in headers
        assert headers["authorization"].startswith("Bearer ")
        assert ann.token not in headers["authorization"]


async def test_query_and_spelling_of_the_url_do_not_matter(client: Any, ann: Ann) -> None:
    proof = ann.proof(url="HTTP://LOCALHOST:8000/api/v1/room%73/7/messages?x#y")
    assert (await client.get(f"{SIGNED}?limit=2", headers=ann.headers(proof))).status_code == 200


async def test_a_stolen_bound_token_is_no_bearer_token(client: Any, ann: Ann, upstream: Any) -> None:
    bearer = {"Authorization": f"Bearer {ann.token}"}
    assert refusal(await client.get(SIGNED, headers=bearer)) == (401, "invalid_token")
    assert refusal(await client.get(SIGNED, headers=bearer | {"DPoP": ann.proof()})) == (401, "invalid_token")
    assert (await client.get(SIGNED, headers=ann.headers())).status_code == 200
    assert refusal(await client.get(SIGNED, headers=bearer)) == (401, "invalid_token"), "also once it is remembered"
    assert upstream.calls == 1


async def test_a_bearer_token_is_not_accepted_as_a_bound_one(
    client: Any, ann: Ann, sign_in: Any, upstream: Any
) -> None:
    plain = sign_in.token(sign_in.principal("ann"))
    proof = ann.proof(token=plain)
    reply = await client.get(SIGNED, headers={"Authorization": f"DPoP {plain}", "DPoP": proof})
    assert refusal(reply) == (401, "invalid_token")
    assert upstream.calls == 0


async def test_a_proof_is_accepted_once_by_all_gateways(open_edge: Any, ann: Ann) -> None:
    one, two = await open_edge(), await open_edge()
    proof = ann.proof()
    async with httpx2.AsyncClient() as client:
        first = await client.get(one.url + SIGNED, headers=ann.headers(proof))
        again = await client.get(one.url + SIGNED, headers=ann.headers(proof))
        elsewhere = await client.get(two.url + SIGNED, headers=ann.headers(proof))
        another = await client.get(two.url + SIGNED, headers=ann.headers())
    assert first.status_code == 200
    assert refusal(again) == refusal(elsewhere) == (401, "invalid_dpop_proof")
    assert another.status_code == 200


async def test_without_the_cache_each_gateway_accepts_a_proof_once(open_edge: Any, ann: Ann, own_cache: Valkey) -> None:
    edge = await open_edge(redis_url=own_cache.url)
    proof = ann.proof()
    await own_cache.stop()
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        await eventually(lambda: not edge.gateway.limiter.connection.connected)
        assert (await client.get(SIGNED, headers=ann.headers(proof))).status_code == 200
        assert refusal(await client.get(SIGNED, headers=ann.headers(proof))) == (401, "invalid_dpop_proof")


async def test_the_memory_of_proofs_is_bounded(open_edge: Any, ann: Ann, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(used_proofs, "REMEMBERED", 2)
    edge = await open_edge()
    used = [ann.proof() for _ in range(4)]
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        for proof in used:
            assert (await client.get(SIGNED, headers=ann.headers(proof))).status_code == 200
        for proof in used:  # the first two are known by the cache alone
            assert refusal(await client.get(SIGNED, headers=ann.headers(proof))) == (401, "invalid_dpop_proof")


WRONG: dict[str, Callable[[Ann], str]] = {
    "for another method": lambda ann: ann.proof("POST"),
    "for another path": lambda ann: ann.proof(url=f"{PUBLIC_URL}/api/v1/rooms/8/messages"),
    "for another server": lambda ann: ann.proof(url=f"https://evil.example{SIGNED}"),
    "for another token": lambda ann: ann.proof(token="another"),
    "for no token": lambda ann: ann.proof(ath=None),
    "old": lambda ann: ann.proof(iat=1_700_000_000),
    "from the future": lambda ann: ann.proof(iat=4_000_000_000),
    "without jti": lambda ann: ann.proof(jti=None),
    "signed by another key": lambda ann: ann.proof(signed_by=generate_key().key),
    "HS256": lambda ann: ann.proof(header={"alg": "HS256"}, signed_by=ann.key.jwk["x"].encode()),
    "with a private key": lambda ann: ann.proof(header={"jwk": {**ann.key.jwk, "d": ann.key.jwk["x"]}}),
    "unsigned": lambda ann: ann.proof(header={"alg": "none"}),
    "of another type": lambda ann: ann.proof(header={"typ": "at+jwt"}),
    "twice": lambda ann: f"{ann.proof()}, {ann.proof()}",
    "garbage": lambda ann: "garbage",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_proof_is_refused(client: Any, ann: Ann, upstream: Any, wrong: Callable[[Ann], str]) -> None:
    assert refusal(await client.get(SIGNED, headers=ann.headers(wrong(ann)))) == (401, "invalid_dpop_proof")
    assert upstream.calls == 0


async def test_another_key_or_no_proof_is_refused(client: Any, ann: Ann, upstream: Any) -> None:
    thief = ProofKey().proof("GET", URL, ann.token)
    assert refusal(await client.get(SIGNED, headers=ann.headers(thief))) == (401, "invalid_token")
    alone = await client.get(SIGNED, headers={"Authorization": f"DPoP {ann.token}"})
    assert refusal(alone) == (401, "invalid_dpop_proof")
    both = [*ann.headers().items(), ("DPoP", ann.proof())]
    assert refusal(await client.get(SIGNED, headers=both)) == (401, "invalid_dpop_proof")
    assert upstream.calls == 0


async def test_a_missing_scope_is_refused_by_the_scheme_of_the_token(client: Any, sign_in: Any) -> None:
    key = ProofKey()
    principal = replace(sign_in.principal("ann", scopes=["chat:read"]), dpop_jkt=key.jkt)
    token = sign_in.token(principal)
    headers = {"Authorization": f"DPoP {token}", "DPoP": key.proof("POST", URL, token)}
    reply = await client.post(SIGNED, json={}, headers=headers)
    assert refusal(reply) == (403, "insufficient_scope")
    assert 'scope="chat:write"' in reply.headers["www-authenticate"]


async def test_an_ended_session_is_refused_by_the_scheme_of_its_token(client: Any, ann: Ann, auth: Any) -> None:
    assert (await client.get(SIGNED, headers=ann.headers())).status_code == 200
    auth.end_session(ann.session_id)

    async def refused() -> bool:
        return bool((await client.get(SIGNED, headers=ann.headers())).status_code == 401)

    await eventually(refused, within_s=2)
    assert refusal(await client.get(SIGNED, headers=ann.headers())) == (401, "invalid_token")


async def test_a_challenge_without_credentials_offers_both_schemes(client: Any) -> None:
    asked = (await client.get(SIGNED)).headers["www-authenticate"]
    assert asked.startswith('Bearer realm="flotilla", DPoP realm="flotilla", algs="ES256 RS256 EdDSA"')


async def test_a_tenants_subdomain_is_the_url_that_was_asked(client: Any, ann: Ann) -> None:
    host = {"Host": "acme.localhost:8000"}
    own = ann.headers(ann.proof(url=f"http://acme.localhost:8000{SIGNED}"))
    assert (await client.get(SIGNED, headers=own | host)).status_code == 200
    assert refusal(await client.get(SIGNED, headers=ann.headers() | host)) == (401, "invalid_dpop_proof")


async def test_the_token_endpoint_gets_the_proof_and_other_public_paths_do_not(client: Any) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "DPoP": "a.proof.x"}
    token = await client.post("/oauth2/token", content=b"grant_type=x", headers=form)
    assert ["dpop", "a.proof.x"] in token.json()["headers"]
    login = await client.post("/auth/login", json={}, headers={"DPoP": "a.proof.x"})
    assert "dpop" not in dict(login.json()["headers"])


async def accepting(scope: Any, receive: Any, send: Any) -> None:
    """Accepts a WebSocket and sends the names of the handshake's headers."""
    await receive()
    await send({"type": "websocket.accept", "subprotocol": FLOTILLA})
    await send({"type": "websocket.send", "text": " ".join(name.decode() for name, _ in scope["headers"])})
    await receive()


async def test_a_websocket_is_opened_by_a_proof(edge: Any, ann: Ann, upstream: Any) -> None:
    upstream.handler = accepting

    def opened(headers: dict[str, str] | None, *more: str) -> Any:
        return connect(
            f"{edge.ws_url}/ws",
            subprotocols=[FLOTILLA, *more],
            additional_headers=headers,
            proxy=None,  # type: ignore[list-item]  # names
        )

    headers = ann.headers(ann.proof(url=f"{PUBLIC_URL}/ws"))
    async with opened(headers) as socket:
        assert "dpop" not in str(await socket.recv()).split()
    for refused_headers in (headers, ann.headers(), {"Authorization": f"Bearer {ann.token}"}):
        with pytest.raises(InvalidStatus) as refused:
            await opened(refused_headers)
        assert refused.value.response.status_code == 401
        assert refused.value.response.headers["www-authenticate"].startswith("DPoP")
    async with opened(None, f"bearer.{ann.token}") as socket:
        with suppress(ConnectionClosed):
            await socket.recv()
        await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (4001, "invalid_token")
