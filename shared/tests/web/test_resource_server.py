"""A sixth service outside the fleet: the example of docs/resource-server.md as it stands there, and its refusals."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Form

import shared.resource_server
from shared.dev.fleet import repository
from shared.identity import CurrentUser
from shared.identity.keys import generate_key
from shared.resource_server import ResourceServer
from shared.testing.minting import Mint
from shared.testing.proofs import ProofKey
from shared.testing.running import serving
from shared.testing.waiting import eventually

ISSUER, AUDIENCE = "https://flotilla.example", "https://sails.example"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def mint() -> Mint:
    return Mint(ISSUER, AUDIENCE)


def example(monkeypatch: pytest.MonkeyPatch, mint: Mint, **options: Any) -> FastAPI:
    """The application of the page, whose key set the mint brings."""

    class Offline(ResourceServer):
        def __init__(self, issuer: str, **named: Any) -> None:
            super().__init__(options.pop("issuer", issuer), **named, fetch=mint.fetch, **options)

    monkeypatch.setattr(shared.resource_server, "ResourceServer", Offline)
    source = BLOCK.findall((repository() / "docs" / "resource-server.md").read_text(encoding="utf-8"))[0]
    assert len([line for line in source.splitlines() if line]) <= 10
    names: dict[str, Any] = {}
    exec(compile(source, "docs/resource-server.md", "exec"), names)  # noqa: S102 - the documented example itself
    app: FastAPI = names["app"]
    return app


@pytest.fixture
async def sails(monkeypatch: pytest.MonkeyPatch, mint: Mint) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        serving(example(monkeypatch, mint)) as served,
        httpx2.AsyncClient(base_url=served.url) as client,
    ):
        yield client


async def test_the_documented_service_knows_who_calls(sails: httpx2.AsyncClient, mint: Mint) -> None:
    reply = await sails.get("/sails", headers=mint.headers("ann", scopes=["files:read"]))
    assert (reply.status_code, reply.json()) == (200, {"owner": "ann"})


async def test_without_a_token_it_asks_for_one(sails: httpx2.AsyncClient) -> None:
    reply = await sails.get("/sails")
    offered = 'Bearer realm="flotilla", DPoP realm="flotilla", algs="ES256 RS256 EdDSA"'
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, offered)
    assert reply.headers["content-type"] == "application/problem+json"


async def test_a_missing_scope_is_named(sails: httpx2.AsyncClient, mint: Mint) -> None:
    reply = await sails.get("/sails", headers=mint.headers("ann", scopes=["files:write"]))
    assert reply.status_code == 403
    assert 'error="insufficient_scope", scope="files:read"' in reply.headers["www-authenticate"]


@pytest.mark.parametrize(
    "about",
    [
        pytest.param({"audience": ISSUER}, id="for the fleet itself"),
        pytest.param({"issuer": "https://other.example"}, id="of another issuer"),
        pytest.param({"lifetime_s": -60}, id="expired"),
        pytest.param({"key": generate_key()}, id="by an unknown key"),
        pytest.param({"key": generate_key("RS256")}, id="by another algorithm"),
        pytest.param({"dpop_jkt": "x" * 43}, id="bound to a key"),
    ],
)
async def test_an_invalid_token_is_challenged(sails: httpx2.AsyncClient, mint: Mint, about: dict[str, Any]) -> None:
    reply = await sails.get("/sails", headers=mint.headers("ann", scopes=["files:read"], **about))
    assert reply.status_code == 401
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]


async def test_with_a_client_an_ended_token_is_refused(monkeypatch: pytest.MonkeyPatch, mint: Mint) -> None:
    monkeypatch.setattr(shared.resource_server, "ASKED_EVERY_S", 0.1)
    ended: set[str] = set()
    asked: list[str] = []
    issuer = FastAPI()

    @issuer.post("/oauth2/introspect")
    async def introspect(token: str = Form()) -> dict[str, bool]:
        asked.append(token)
        return {"active": token not in ended}

    async with serving(issuer) as fleet:
        mint.issuer = fleet.url
        app = example(monkeypatch, mint, issuer=fleet.url, client=("sails", "secret"))
        async with serving(app) as served, httpx2.AsyncClient(base_url=served.url) as client:
            token = mint.token("ann", scopes=["files:read"])
            headers = {"Authorization": f"Bearer {token}"}
            assert [(await client.get("/sails", headers=headers)).status_code for _ in range(2)] == [200, 200]
            ended.add(token)

            async def refused() -> bool:
                return (await client.get("/sails", headers=headers)).status_code == 401

            await eventually(refused, within_s=5)
            issuer.router.routes.clear()
            other = mint.headers("ben", scopes=["files:read"])
            assert (await client.get("/sails", headers=other)).status_code == 503
    assert asked[0] == token


URL = f"{AUDIENCE}/sails"


class Bound:
    """A person's token that is bound to a key, and what a client sends with it."""

    def __init__(self, mint: Mint, **about: Any) -> None:
        self.key = ProofKey()
        self.token = mint.token("ann", **{"scopes": ["files:read"], "dpop_jkt": self.key.jkt, **about})

    def headers(self, proof: str | None = None, scheme: str = "DPoP") -> dict[str, str]:
        return {"Authorization": f"{scheme} {self.token}", "DPoP": proof or self.key.proof("GET", URL, self.token)}


def by_dpop(reply: httpx2.Response) -> tuple[int, str]:
    """Status and code of a refusal, whose challenge is of the scheme DPoP."""
    asked = reply.headers["www-authenticate"]
    assert asked.startswith('DPoP realm="flotilla", error='), asked
    assert asked.endswith('algs="ES256 RS256 EdDSA"'), asked
    return reply.status_code, reply.json()["code"]


async def test_a_bound_token_is_accepted_with_a_proof_once(sails: httpx2.AsyncClient, mint: Mint) -> None:
    ann = Bound(mint)
    headers = ann.headers()
    assert (await sails.get("/sails?x=1", headers=headers)).json() == {"owner": "ann"}
    assert by_dpop(await sails.get("/sails", headers=headers)) == (401, "invalid_dpop_proof")
    assert (await sails.get("/sails", headers=ann.headers())).status_code == 200
    assert by_dpop(await sails.get("/sails", headers=ann.headers(scheme="Bearer"))) == (401, "invalid_token")


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"method": "POST"}, id="for another method"),
        pytest.param({"url": f"{AUDIENCE}/other"}, id="for another path"),
        pytest.param({"url": "https://evil.example/sails"}, id="for another server"),
        pytest.param({"token": "another"}, id="for another token"),
        pytest.param({"ath": None}, id="for no token"),
        pytest.param({"iat": 1_700_000_000}, id="old"),
        pytest.param({"jti": None}, id="without an id"),
        pytest.param({"signed_by": generate_key().key}, id="signed by another key"),
    ],
)
async def test_a_wrong_proof_is_refused(sails: httpx2.AsyncClient, mint: Mint, wrong: dict[str, Any]) -> None:
    ann = Bound(mint)
    about = {"method": "GET", "url": URL, "token": ann.token, **wrong}
    assert by_dpop(await sails.get("/sails", headers=ann.headers(ann.key.proof(**about)))) == (
        401,
        "invalid_dpop_proof",
    )


async def test_a_bound_token_needs_one_proof_by_its_own_key(sails: httpx2.AsyncClient, mint: Mint) -> None:
    ann, ben = Bound(mint), Bound(mint)
    thief = ben.key.proof("GET", URL, ann.token)
    assert by_dpop(await sails.get("/sails", headers=ann.headers(thief))) == (401, "invalid_token")
    alone = {"Authorization": f"DPoP {ann.token}"}
    assert by_dpop(await sails.get("/sails", headers=alone)) == (401, "invalid_dpop_proof")
    both = [*ann.headers().items(), ("DPoP", ann.key.proof("GET", URL, ann.token))]
    assert by_dpop(await sails.get("/sails", headers=both)) == (401, "invalid_dpop_proof")
    plain = mint.token("ann", scopes=["files:read"])
    headers = {"Authorization": f"DPoP {plain}", "DPoP": ann.key.proof("GET", URL, plain)}
    assert by_dpop(await sails.get("/sails", headers=headers)) == (401, "invalid_token")


async def test_a_missing_scope_is_refused_by_the_scheme_of_the_token(sails: httpx2.AsyncClient, mint: Mint) -> None:
    reply = await sails.get("/sails", headers=Bound(mint, scopes=["files:write"]).headers())
    assert by_dpop(reply) == (403, "insufficient_scope")
    assert 'scope="files:read"' in reply.headers["www-authenticate"]


async def test_a_proof_is_for_the_url_that_clients_use(monkeypatch: pytest.MonkeyPatch, mint: Mint) -> None:
    ann = Bound(mint)
    app = example(monkeypatch, mint, url="https://api.example/v1")
    async with serving(app) as served, httpx2.AsyncClient(base_url=served.url) as client:
        proof = ann.key.proof("GET", "https://api.example/v1/sails", ann.token)
        assert (await client.get("/sails", headers=ann.headers(proof))).status_code == 200
        assert by_dpop(await client.get("/sails", headers=ann.headers())) == (401, "invalid_dpop_proof")


async def test_without_a_url_of_its_own_it_refuses_bound_tokens(mint: Mint) -> None:
    mint = Mint(ISSUER)
    app = ResourceServer(ISSUER, fetch=mint.fetch).protect(FastAPI())

    @app.get("/sails")
    async def sails(user: CurrentUser) -> dict[str, str]:
        return {"owner": user.username}

    ann = Bound(mint)
    async with serving(app) as served, httpx2.AsyncClient(base_url=served.url) as client:
        assert (await client.get("/sails", headers=mint.headers("ann"))).status_code == 200
        assert (await client.get("/sails", headers=ann.headers())).status_code == 401
        assert by_dpop(await client.get("/sails", headers=ann.headers(scheme="Bearer"))) == (401, "invalid_token")
