"""Tokens that are bound to a client's key (DPoP, RFC 9449): at the token endpoint and for pushed requests."""

from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from auth_service.dpop.nonces import WINDOW_S, is_nonce, nonce
from auth_service.keyring import Keyring, Root
from shared.identity.keys import generate_key
from shared.testing.proofs import ProofKey

from .door import Door, claims_of
from .oauth import DEVICE_GRANT, ISSUER, Browser, OAuthClient, code_for, fields_of, registered
from .test_clients import MACHINE
from .test_oauth_tokens import ACCESS_TOKEN, EXCHANGE

TOKEN_URL = f"{ISSUER}/oauth2/token"
PUBLIC = {"token_endpoint_auth_method": "none"}
OTHER_JKT = "x" * 43


@dataclass
class Prover:
    """A client that proves possession of its key, with the nonce that it received last."""

    client: OAuthClient
    key: ProofKey = field(default_factory=ProofKey)
    nonce: str | None = None

    async def post(self, path: str, form: dict[str, str], key: ProofKey | None = None) -> httpx2.Response:
        """A form with a proof; sent again with the nonce if the server asks for one."""
        reply = await self.once(path, form, key)
        if reply.status_code == 400 and reply.json()["error"] == "use_dpop_nonce":
            reply = await self.once(path, form, key)
        return reply

    async def once(
        self, path: str, form: dict[str, str], key: ProofKey | None = None, **changes: Any
    ) -> httpx2.Response:
        return await self.send(path, form, (key or self.key).proof(*self.about(path), nonce=self.nonce, **changes))

    async def send(self, path: str, form: dict[str, str], proof: str) -> httpx2.Response:
        reply = await self.client.post(path, form, DPoP=proof)
        self.nonce = reply.headers.get("dpop-nonce", self.nonce)
        return reply

    async def redeem(self, code: str, key: ProofKey | None = None) -> httpx2.Response:
        return await self.post("token", self.client.redemption(code), key)

    async def refresh(self, refresh_token: str, key: ProofKey | None = None) -> httpx2.Response:
        return await self.post("token", {"grant_type": "refresh_token", "refresh_token": refresh_token}, key)

    @staticmethod
    def about(path: str) -> tuple[str, str]:
        return "POST", f"{ISSUER}/oauth2/{path}"


@pytest.fixture
async def admin(door: Door) -> dict[str, Any]:
    """Ann, the admin of a tenant."""
    return await door.signed_up("ann", slug="acme")


@pytest.fixture
async def prover(door: Door, admin: dict[str, Any]) -> Prover:
    """A public client, which proves its key and nothing else."""
    return Prover(await registered(door, admin, **PUBLIC))


@pytest.fixture
async def confidential(door: Door, admin: dict[str, Any]) -> Prover:
    return Prover(await registered(door, admin))


@pytest.fixture
async def machine(door: Door, admin: dict[str, Any]) -> Prover:
    return Prover(await registered(door, admin, **MACHINE))


@pytest.fixture
async def browser(door: Door, admin: dict[str, Any]) -> Browser:
    """Ann's browser, signed in."""
    found = Browser(door)
    await found.sign_in("ann")
    return found


CREDENTIALS = {"grant_type": "client_credentials", "scope": "jobs:read"}


def error(reply: httpx2.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]


async def test_tokens_are_bound_to_the_key_of_the_proof(browser: Browser, prover: Prover) -> None:
    reply = await prover.redeem(await code_for(browser, prover.client))
    assert (reply.status_code, reply.json()["token_type"]) == (200, "DPoP")
    assert claims_of(reply.json())["cnf"] == {"jkt": prover.key.jkt}
    refreshed = await prover.refresh(reply.json()["refresh_token"])
    assert (refreshed.status_code, refreshed.json()["token_type"]) == (200, "DPoP")
    assert claims_of(refreshed.json())["cnf"] == {"jkt": prover.key.jkt}


async def test_a_nonce_is_demanded_and_renewed(machine: Prover) -> None:
    without = await machine.once("token", CREDENTIALS)
    assert error(without) == (400, "use_dpop_nonce")
    first = without.headers["dpop-nonce"]
    with_nonce = await machine.once("token", CREDENTIALS)
    assert (with_nonce.status_code, with_nonce.headers["dpop-nonce"]) == (200, first)
    machine.nonce = first[:-4] + "AAAA"
    forged = await machine.once("token", CREDENTIALS)
    assert (error(forged), forged.headers["dpop-nonce"]) == ((400, "use_dpop_nonce"), first)
    for wrong in ("", "é", "x" * 200):
        machine.nonce = wrong
        assert error(await machine.once("token", CREDENTIALS)) == (400, "use_dpop_nonce")


def test_a_nonce_is_valid_for_two_windows() -> None:
    old, new = Root.of(b"o" * 32), Root.of(b"n" * 32)
    before, during, after = Keyring([old]), Keyring([new, old]), Keyring([new])
    made = nonce(before, now=WINDOW_S)
    accepted = [window for window in range(5) if is_nonce(made, before, now=window * WINDOW_S)]
    assert accepted == [1, 2]
    assert is_nonce(made, during, now=WINDOW_S)
    assert not is_nonce(made, after, now=WINDOW_S)


async def test_a_proof_is_accepted_once(machine: Prover) -> None:
    await machine.once("token", CREDENTIALS)
    proof = machine.key.proof(*machine.about("token"), nonce=machine.nonce)
    assert (await machine.send("token", CREDENTIALS, proof)).status_code == 200
    assert error(await machine.send("token", CREDENTIALS, proof)) == (400, "invalid_dpop_proof")


async def test_an_invalid_proof_is_refused(machine: Prover) -> None:
    await machine.once("token", CREDENTIALS)
    key, about = machine.key, machine.about("token")
    secret = key.jwk["x"].encode()
    for proof in (
        "garbage",
        key.proof("GET", TOKEN_URL, nonce=machine.nonce),
        key.proof("POST", f"{ISSUER}/oauth2/par", nonce=machine.nonce),
        key.proof("POST", "https://evil.example/oauth2/token", nonce=machine.nonce),
        key.proof(*about, nonce=machine.nonce, iat=1_700_000_000),
        key.proof(*about, nonce=machine.nonce, header={"typ": "JWT"}),
        key.proof(*about, nonce=machine.nonce, header={"alg": "HS256"}, signed_by=secret),
        key.proof(*about, nonce=machine.nonce, header={"jwk": {**key.jwk, "d": key.jwk["x"]}}),
        key.proof(*about, nonce=machine.nonce, signed_by=generate_key().key),
    ):
        reply = await machine.send("token", CREDENTIALS, proof)
        assert error(reply) == (400, "invalid_dpop_proof"), proof
        assert reply.headers["cache-control"] == "no-store"
    valid = key.proof(*about, nonce=machine.nonce)
    client = machine.client
    credentials = {"client_id": client.id, "client_secret": client.secret or ""}
    twice = await client.door.client.post(
        "/oauth2/token", data={**CREDENTIALS, **credentials}, headers=[("DPoP", valid), ("DPoP", valid)]
    )
    assert error(twice) == (400, "invalid_dpop_proof")


async def test_an_unknown_client_does_not_use_the_proof(machine: Prover) -> None:
    await machine.once("token", CREDENTIALS)
    proof = machine.key.proof(*machine.about("token"), nonce=machine.nonce)
    impostor = Prover(OAuthClient(machine.client.door, machine.client.id, "wrong"))
    assert error(await impostor.send("token", CREDENTIALS, proof)) == (401, "invalid_client")
    assert (await machine.send("token", CREDENTIALS, proof)).status_code == 200


async def test_a_public_client_refreshes_with_the_same_key(browser: Browser, prover: Prover) -> None:
    tokens = (await prover.redeem(await code_for(browser, prover.client))).json()
    refresh_token = tokens["refresh_token"]
    assert error(await prover.client.refresh(refresh_token)) == (400, "invalid_request")
    assert error(await prover.refresh(refresh_token, ProofKey())) == (400, "invalid_grant")
    assert (await prover.refresh(refresh_token)).status_code == 200, "neither attempt rotated it"


async def test_a_confidential_client_may_change_its_key(browser: Browser, confidential: Prover) -> None:
    tokens = (await confidential.redeem(await code_for(browser, confidential.client))).json()
    changed = ProofKey()
    refreshed = await confidential.refresh(tokens["refresh_token"], changed)
    assert claims_of(refreshed.json())["cnf"] == {"jkt": changed.jkt}
    bearer = await confidential.client.refresh(refreshed.json()["refresh_token"])
    assert error(bearer) == (400, "invalid_request")


async def test_a_bearer_session_may_turn_to_bound_tokens(browser: Browser, prover: Prover) -> None:
    tokens = (await prover.client.redeem(await code_for(browser, prover.client))).json()
    assert (tokens["token_type"], "cnf" in claims_of(tokens)) == ("Bearer", False)
    refreshed = (await prover.refresh(tokens["refresh_token"])).json()
    assert (refreshed["token_type"], claims_of(refreshed)["cnf"]) == ("DPoP", {"jkt": prover.key.jkt})


async def test_a_code_may_be_bound_to_a_key(browser: Browser, prover: Prover) -> None:
    code = await code_for(browser, prover.client, dpop_jkt=prover.key.jkt)
    assert error(await prover.client.redeem(code)) == (400, "invalid_grant")
    assert error(await prover.redeem(code, ProofKey())) == (400, "invalid_grant")
    assert (await prover.redeem(code)).status_code == 200


async def test_a_pushed_request_binds_the_code_to_the_key_of_its_proof(browser: Browser, prover: Prover) -> None:
    request = prover.client.query()
    verifier = prover.client.verifier
    pushed = await prover.post("par", request)
    assert pushed.status_code == 201, pushed.text
    only = {name: None for name in request if name != "client_id"}
    code = await code_for(browser, prover.client, **only, request_uri=pushed.json()["request_uri"])
    prover.client.verifier = verifier
    assert error(await prover.redeem(code, ProofKey())) == (400, "invalid_grant")
    assert (await prover.redeem(code)).status_code == 200


async def test_a_pushed_request_names_no_other_key_than_that_of_its_proof(prover: Prover) -> None:
    wrong = await prover.post("par", prover.client.query(dpop_jkt=OTHER_JKT))
    assert error(wrong) == (400, "invalid_request")
    proof = prover.key.proof(*prover.about("token"), nonce=prover.nonce)
    assert error(await prover.send("par", prover.client.query(), proof)) == (400, "invalid_dpop_proof")
    same = await prover.post("par", prover.client.query(dpop_jkt=prover.key.jkt))
    assert same.status_code == 201


async def test_a_client_may_be_registered_for_bound_tokens_only(
    door: Door, admin: dict[str, Any], browser: Browser
) -> None:
    bound = {"dpop_bound_access_tokens": True}
    prover = Prover(await registered(door, admin, **PUBLIC, **bound))
    code = await code_for(browser, prover.client)
    assert error(await prover.client.redeem(code)) == (400, "invalid_request")
    tokens = (await prover.redeem(code)).json()
    assert tokens["token_type"] == "DPoP"
    machine = Prover(await registered(door, admin, **{**MACHINE, **bound}))
    assert error(await machine.client.post("token", CREDENTIALS)) == (400, "invalid_request")
    assert (await machine.post("token", CREDENTIALS)).status_code == 200


async def test_a_machines_token_is_bound_and_introspected(machine: Prover) -> None:
    tokens = (await machine.post("token", CREDENTIALS)).json()
    assert (tokens["token_type"], claims_of(tokens)["cnf"]) == ("DPoP", {"jkt": machine.key.jkt})
    seen = (await machine.client.post("introspect", {"token": tokens["access_token"]})).json()
    assert (seen["active"], seen["token_type"], seen["cnf"]) == (True, "DPoP", {"jkt": machine.key.jkt})


async def test_a_device_gets_tokens_that_are_bound_to_its_key(
    door: Door, admin: dict[str, Any], browser: Browser
) -> None:
    device = {"redirect_uris": [], "grant_types": [DEVICE_GRANT, "refresh_token"], "dpop_bound_access_tokens": True}
    tv = Prover(await registered(door, admin, **PUBLIC, **device))
    asked = (await tv.client.post("device_authorization", {"scope": "jobs:read"})).json()
    form = {"grant_type": DEVICE_GRANT, "device_code": asked["device_code"]}
    assert error(await tv.post("token", form)) == (400, "authorization_pending")
    entry = fields_of((await browser.get("/oauth2/device")).text)
    consent = await browser.send("/oauth2/device", {**entry, "user_code": asked["user_code"]})
    await browser.send("/oauth2/device", {**fields_of(consent.text), "decision": "allow"})
    assert error(await tv.client.post("token", form)) == (400, "invalid_request"), "it must prove its key"
    tokens = (await tv.post("token", form)).json()
    assert (tokens["token_type"], claims_of(tokens)["cnf"]) == ("DPoP", {"jkt": tv.key.jkt})
    assert error(await tv.refresh(tokens["refresh_token"], ProofKey())) == (400, "invalid_grant")
    refreshed = (await tv.refresh(tokens["refresh_token"])).json()
    assert (refreshed["token_type"], claims_of(refreshed)["cnf"]) == ("DPoP", {"jkt": tv.key.jkt})


async def test_an_exchanged_token_is_bound_to_the_key_of_the_proof(
    door: Door, admin: dict[str, Any], browser: Browser
) -> None:
    both = {"grant_types": ["authorization_code", EXCHANGE]}
    prover = Prover(await registered(door, admin, **both))
    plain = (await prover.client.redeem(await code_for(browser, prover.client))).json()
    form = {"grant_type": EXCHANGE, "subject_token": plain["access_token"], "subject_token_type": ACCESS_TOKEN}
    exchanged = (await prover.post("token", form)).json()
    assert (exchanged["token_type"], claims_of(exchanged)["cnf"]) == ("DPoP", {"jkt": prover.key.jkt})
    seen = (await prover.client.post("introspect", {"token": exchanged["access_token"]})).json()
    assert (seen["active"], seen["cnf"]) == (True, {"jkt": prover.key.jkt})
    bound = await prover.post("token", {**form, "subject_token": exchanged["access_token"]})
    assert error(bound) == (400, "invalid_request"), "a bound token is not exchanged: its key was not proven"


async def test_refusals_name_the_scheme_of_the_token(door: Door, browser: Browser, prover: Prover) -> None:
    tokens = (await prover.redeem(await code_for(browser, prover.client))).json()
    bearer = door.bearer(tokens)
    missing = await door.client.get("/oauth2/clients", headers=bearer)
    asked = missing.headers["www-authenticate"]
    assert (missing.status_code, asked) == (
        403,
        'DPoP realm="flotilla", error="insufficient_scope", scope="admin:read", algs="ES256 RS256 EdDSA"',
    )
    await door.run("UPDATE sessions SET ended_at = now() WHERE client_id = :id", id=prover.client.id)
    ended = await door.client.get("/auth/me", headers=bearer)
    assert ended.status_code == 401
    assert ended.headers["www-authenticate"].startswith('DPoP realm="flotilla", error="invalid_token"')


async def test_discovery_lists_the_algorithms(door: Door) -> None:
    found = (await door.client.get("/.well-known/oauth-authorization-server")).json()
    assert found["dpop_signing_alg_values_supported"] == ["ES256", "RS256", "EdDSA"]
