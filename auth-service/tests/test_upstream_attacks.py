"""What an upstream issuer, a browser on the way, and another issuer must not be able to do."""

import base64
import hashlib
import json
import time
from typing import Any

import jwt
import pytest

from shared.identity.keys import generate_key

from .door import Door, problem
from .issuer import Browser, Issuer, browsing, issuing, registered, state_in

PERSON = {"email": "eve@corp.example", "email_verified": True, "preferred_username": "eve"}


def _unsigned(claims: dict[str, Any], alg: str) -> str:
    parts = (json.dumps({"alg": alg, "typ": "JWT"}), json.dumps(claims))
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts) + "."


def _half_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).decode().rstrip("=")


def _forged(issuer: Issuer) -> dict[str, Any]:
    """Ways to sign an ID token that prove nothing."""
    stranger, published = generate_key(), issuer.key
    with_jwk = {"kid": "other", "jwk": stranger.public_jwk, "jku": f"{issuer.url}/jwks"}
    hmac_key = published.public_jwk["x"]
    return {
        "alg none": lambda claims: _unsigned(claims, "none"),
        "alg None": lambda claims: _unsigned(claims, "None"),
        "another key": lambda claims: jwt.encode(claims, stranger.key, "ES256", headers={"kid": published.kid}),
        "a key of its own": lambda claims: jwt.encode(claims, stranger.key, "ES256", headers=with_jwk),
        "the public key as a secret": lambda claims: jwt.encode(
            claims, hmac_key, "HS256", headers={"kid": published.kid}
        ),
        "crit": lambda claims: jwt.encode(
            claims, published.key, "ES256", headers={"kid": published.kid, "crit": ["x"], "x": 1}
        ),
        "an access token": lambda claims: jwt.encode(
            claims, published.key, "ES256", headers={"kid": published.kid, "typ": "at+jwt"}
        ),
        "not a token": lambda claims: "a.b.c",
    }


def _claims() -> dict[str, dict[str, Any]]:
    """Claims of ID tokens that are not for this sign-in; None: left out."""
    now = int(time.time())
    return {
        "another nonce": {"nonce": "of another sign-in"},
        "no nonce": {"nonce": None},
        "another issuer": {"iss": "https://issuer.example"},
        "another audience": {"aud": "another-client"},
        "several audiences without azp": {"aud": ["flotilla", "another-client"]},
        "another azp": {"azp": "another-client"},
        "expired": {"exp": now - 3600, "iat": now - 7200},
        "no exp": {"exp": None},
        "not issued yet": {"iat": now + 3600},
        "no sub": {"sub": None},
        "an empty sub": {"sub": ""},
        "a sub that is a number": {"sub": 7},
        "a huge sub": {"sub": "x" * 256},
        "another access token": {"at_hash": _half_hash("another token")},
    }


async def _refused(door: Door, browser: Browser, provider: dict[str, Any], issuer: Issuer, what: str) -> None:
    reply = await browser.sign_in(provider, issuer, "sub-1", **PERSON)
    assert (reply.status_code, "no valid answer" in reply.text) == (502, True), what
    assert await door.rows("SELECT 1 FROM identities") == [], what


async def test_id_tokens_that_prove_nothing_are_refused(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    for what, sign in _forged(issuer).items():
        issuer.sign = sign
        await _refused(door, browser, provider, issuer, what)
    issuer.sign = None
    for what, changes in _claims().items():

        def tamper(claims: dict[str, Any], changes: dict[str, Any] = changes) -> None:
            claims |= changes
            for name in [name for name, value in claims.items() if value is None]:
                del claims[name]

        issuer.tamper = tamper
        await _refused(door, browser, provider, issuer, what)
    issuer.tamper = lambda claims: claims.update(
        aud=["flotilla", "other"], azp="flotilla", at_hash=_half_hash("upstream-access")
    )
    assert (await browser.sign_in(provider, issuer, "sub-1", **PERSON)).status_code == 303


async def test_a_token_response_that_is_not_one_is_refused(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    for answer in ({}, [], {"id_token": 7}, {"id_token": "x" * 300_000}, {"error": "x"}):
        issuer.answer = lambda body, answer=answer: answer
        await _refused(door, browser, provider, issuer, str(answer)[:40])


async def test_the_answer_of_a_second_issuer_is_refused(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    """Mix-up: the browser is sent to one issuer and comes back with what another one gave it (RFC 9207)."""
    async with issuing() as evil:
        honest_provider = await registered(door, root, issuer.url, fleet_wide=True)
        evil_provider = await registered(door, root, evil.url, fleet_wide=True)
        url = await browser.start(honest_provider)
        mixed = evil.sign_in(url, "sub-1", **PERSON)
        reply = await browser.come_back(honest_provider, mixed)
        assert (reply.status_code, evil.exchanges) == (502, [])

        url = await browser.start(honest_provider)
        unnamed = {name: value for name, value in issuer.sign_in(url, "sub-1", **PERSON).items() if name != "iss"}
        assert (await browser.come_back(honest_provider, unnamed)).status_code == 502
        assert issuer.exchanges == []  # nothing was sent to anybody

        url = await browser.start(evil_provider)  # the evil issuer sends the browser on to the honest one
        stolen = issuer.sign_in(url, "sub-1", **PERSON)
        assert (await browser.come_back(evil_provider, stolen | {"iss": evil.url})).status_code == 502
        for provider in (honest_provider, evil_provider):  # and an answer belongs to the address of one provider
            other = evil_provider if provider is honest_provider else honest_provider
            begun = await browser.start(provider)
            assert (await browser.come_back(other, {"state": state_in(begun), "code": "x"})).status_code == 400
        assert await door.rows("SELECT 1 FROM identities") == []


async def test_a_state_is_good_once_in_the_browser_that_began(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser, base_url: str
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    answer = issuer.sign_in(await browser.start(provider), "sub-1", **PERSON)
    async with browsing(base_url) as other:
        assert (await other.come_back(provider, answer)).status_code == 400  # without a cookie
        await other.start(provider)
        stolen = await other.come_back(provider, answer)
        assert (stolen.status_code, "another browser" in stolen.text) == (400, True)
    assert issuer.exchanges == []
    assert (await browser.come_back(provider, answer)).status_code == 303  # nothing was spent
    assert (await browser.come_back(provider, answer)).status_code == 400
    assert len(issuer.exchanges) == 1

    first = issuer.sign_in(await browser.start(provider), "sub-1")
    second = issuer.sign_in(await browser.start(provider), "sub-1")  # another tab
    assert (await browser.come_back(provider, first)).status_code == 303
    assert (await browser.come_back(provider, second)).status_code == 303

    late = issuer.sign_in(await browser.start(provider), "sub-1")
    await door.run("UPDATE upstream_ceremonies SET expires_at = now()")
    assert (await browser.come_back(provider, late)).status_code == 400


@pytest.mark.parametrize(
    "query", ["", "state=x", "code=x", "state=&code=x", "state=x&state=y&code=z", "state=x&code=a&code=b"]
)
async def test_an_answer_of_no_ceremony_is_a_page(
    query: str, door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    await browser.start(provider)
    reply = await browser.http.get(f"/auth/upstream/{provider['id']}/callback?{query}")
    assert (reply.status_code, reply.headers["content-type"]) == (400, "text/html; charset=utf-8")


async def test_an_issuer_is_read_before_it_is_registered(door: Door, root: dict[str, str], issuer: Issuer) -> None:
    body = {"name": "Workforce", "issuer": issuer.url, "client_id": "flotilla", "fleet_wide": True}
    for metadata in (
        {"issuer": "https://issuer.example"},
        {"issuer": f"{issuer.url}/"},
        {"jwks_uri": "http://issuer.example/jwks"},
        {"jwks_uri": f"{issuer.url}/nothing"},
        {"token_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": "ftp://x"},
        {"response_types_supported": ["id_token"]},
        {"code_challenge_methods_supported": ["plain"]},
        {"id_token_signing_alg_values_supported": ["none", "HS256"]},
    ):
        issuer.metadata = metadata
        reply = await door.client.post("/auth/identity-providers", json=body, headers=root)
        assert problem(reply) == (422, "issuer_unusable"), metadata
    issuer.metadata = {}
    for url in (f"{issuer.url}?x=y", f"{issuer.url}#x", "http://169.254.169.254", "file:///etc/passwd", "x"):
        reply = await door.client.post("/auth/identity-providers", json=body | {"issuer": url}, headers=root)
        assert problem(reply) == (422, "issuer_unusable"), url


async def test_providers_are_their_tenants_and_the_operators(
    door: Door, root: dict[str, str], admin: dict[str, str], issuer: Issuer
) -> None:
    fleet = await registered(door, root, issuer.url, fleet_wide=True)
    theirs = await registered(door, admin, issuer.url)
    assert (fleet["tenant_id"] is None, theirs["tenant_id"] is None) == (True, False)
    assert "secret" not in str(theirs)
    stored = await door.rows("SELECT client_secret FROM identity_providers")
    assert not any(b"s3cret" in row["client_secret"] for row in stored)
    body = {"name": "X", "issuer": issuer.url, "client_id": "x", "fleet_wide": True}
    refused = await door.client.post("/auth/identity-providers", json=body, headers=admin)
    assert problem(refused) == (403, "insufficient_scope")
    listed = (await door.client.get("/auth/identity-providers", headers=admin)).json()["items"]
    assert [one["id"] for one in listed] == [theirs["id"]]
    for method, given in (("GET", None), ("PATCH", {"name": "Mine"}), ("DELETE", None)):
        reply = await door.client.request(method, f"/auth/identity-providers/{fleet['id']}", json=given, headers=admin)
        assert problem(reply) == (404, "identity_provider_not_found"), method
    member = door.bearer(await door.signed_up("bob"))
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", f"/{theirs['id']}")):
        reply = await door.client.request(method, f"/auth/identity-providers{path}", json=body, headers=member)
        assert problem(reply) == (403, "insufficient_scope"), method
    renamed = await door.client.patch(f"/auth/identity-providers/{theirs['id']}", json={"name": "Our"}, headers=admin)
    assert renamed.json()["name"] == "Our"
    deleted = await door.client.delete(f"/auth/identity-providers/{theirs['id']}", headers=admin)
    assert deleted.status_code == 204
