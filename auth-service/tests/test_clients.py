"""The registry of OAuth clients: who may register what, and how a client authenticates."""

import base64
import time
import uuid
from typing import Any

import jwt
import pytest

from shared.identity.keys import SigningKey, generate_key

from .door import Door, Reply, claims_of, problem
from .oauth import CALLBACK, ISSUER, METADATA, Browser, OAuthClient, code_for, registered

MACHINE = {
    "client_name": "Importer",
    "grant_types": ["client_credentials"],
    "scope": "jobs:read jobs:write",
    "roles": ["user"],
}


@pytest.fixture
async def admin(door: Door) -> dict[str, Any]:
    """Ann, the admin of a tenant."""
    return await door.signed_up("ann", slug="acme")


async def test_a_client_is_registered_read_changed_and_deleted(door: Door, admin: dict[str, Any]) -> None:
    bearer = door.bearer(admin)
    made = await door.client.post("/oauth2/clients", json=METADATA, headers=bearer)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    client = made.json()
    assert (client["client_name"], client["scope"], client["client_secret_expires_at"]) == (
        "Planner",
        "chat:read email jobs:read offline_access openid profile",
        0,
    )
    assert len(client["client_secret"]) >= 43
    path = f"/oauth2/clients/{client['client_id']}"
    shown = (await door.client.get(path, headers=bearer)).json()
    assert "client_secret" not in shown
    listed = (await door.client.get("/oauth2/clients", headers=bearer)).json()["items"]
    assert [one["client_id"] for one in listed] == [client["client_id"]]
    changed = await door.client.patch(path, json={"client_name": "Planner 2"}, headers=bearer)
    assert (changed.status_code, changed.json()["client_name"]) == (200, "Planner 2")
    bad = await door.client.patch(path, json={"redirect_uris": ["http://planner.example/"]}, headers=bearer)
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "#/redirect_uris/0")
    assert (await door.client.delete(path, headers=bearer)).status_code == 204
    assert problem(await door.client.get(path, headers=bearer)) == (404, "client_not_found")
    kinds = [row["kind"] for row in await door.rows("SELECT kind FROM security_events ORDER BY created_at")]
    assert kinds[-3:] == ["client_registered", "client_changed", "client_deleted"]


async def test_where_a_client_is_informed_of_logouts_can_be_changed(door: Door, admin: dict[str, Any]) -> None:
    bearer = door.bearer(admin)
    client = await registered(door, admin, backchannel_logout_uri="https://planner.example/old")
    path = f"/oauth2/clients/{client.id}"
    for uri in ("https://planner.example/new", None):
        changed = await door.client.patch(path, json={"backchannel_logout_uri": uri}, headers=bearer)
        assert (changed.status_code, changed.json()["backchannel_logout_uri"]) == (200, uri)
        other = await door.client.patch(path, json={"client_name": "Planner 2"}, headers=bearer)
        assert other.json()["backchannel_logout_uri"] == uri
    for uri in ("http://planner.example/new", "com.example.app:/logout", "https://planner.example/#f", ""):
        refused = await door.client.patch(path, json={"backchannel_logout_uri": uri}, headers=bearer)
        assert problem(refused) == (422, "invalid_input")
        assert refused.json()["errors"][0]["pointer"] == "#/backchannel_logout_uri"


async def test_a_client_changes_the_keys_of_its_assertions(door: Door, admin: dict[str, Any]) -> None:
    old, new = generate_key(), generate_key()
    by_key = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [old.public_jwk]}}
    client = await registered(door, admin, **MACHINE, **by_key)
    path = f"/oauth2/clients/{client.id}"
    secret = {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}
    assert (await door.client.patch(path, json=secret, headers=door.bearer(admin))).status_code == 422
    keys = {"jwks": {"keys": [new.public_jwk]}}
    assert (await door.client.patch(path, json=keys, headers=door.bearer(admin))).status_code == 200
    for key, status in ((old, 401), (new, 200)):
        assert (await door.client.post("/oauth2/token", data=by(assertion(client, key)))).status_code == status


async def test_a_secret_is_stored_as_its_hash_and_rotated(door: Door, admin: dict[str, Any]) -> None:
    client = await registered(door, admin, **MACHINE)
    stored = (await door.rows("SELECT * FROM oauth_clients"))[0]
    assert client.secret
    assert client.secret not in str(stored)
    form = {"grant_type": "client_credentials"}
    assert (await client.post("token", form)).status_code == 200
    rotated = await door.client.post(f"/oauth2/clients/{client.id}/secret", headers=door.bearer(admin))
    assert (await client.post("token", form)).json()["error"] == "invalid_client"
    client.secret = rotated.json()["client_secret"]
    assert (await client.post("token", form)).status_code == 200


async def test_only_admins_register_and_only_in_their_tenant(door: Door, admin: dict[str, Any]) -> None:
    client = await registered(door, admin)
    other = await door.signed_up("bob", slug="globex")
    path = f"/oauth2/clients/{client.id}"
    assert problem(await door.client.get(path, headers=door.bearer(other))) == (404, "client_not_found")
    assert problem(await door.client.delete(path, headers=door.bearer(other))) == (404, "client_not_found")
    assert (await door.client.get("/oauth2/clients", headers=door.bearer(other))).json()["items"] == []
    narrow = (await door.login("ann", scope="jobs:read")).json()
    for reply in (
        await door.client.post("/oauth2/clients", json=METADATA, headers=door.bearer(narrow)),
        await door.client.post("/oauth2/register", json=METADATA, headers=door.bearer(narrow)),
    ):
        assert problem(reply) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"first_party": True}, "insufficient_scope"),
        ({"fleet_wide": True}, "insufficient_scope"),
    ],
)
async def test_a_tenants_admin_makes_no_client_of_the_fleet(
    door: Door, admin: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    reply = await door.client.post("/oauth2/clients", json={**METADATA, **changes}, headers=door.bearer(admin))
    assert problem(reply) == (403, code)


async def test_roles_beyond_the_callers_token_are_not_granted(door: Door, admin: dict[str, Any]) -> None:
    narrow = (await door.login("ann", scope="admin:write tenant:write")).json()
    body = {**MACHINE, "roles": ["admin"]}
    assert problem(await door.client.post("/oauth2/clients", json=body, headers=door.bearer(narrow))) == (
        403,
        "roles_exceeded",
    )
    no_roles = (await door.login("ann", scope="admin:write")).json()
    assert problem(await door.client.post("/oauth2/clients", json=body, headers=door.bearer(no_roles))) == (
        403,
        "insufficient_scope",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uris": ["http://planner.example/callback"]},
        {"redirect_uris": ["http://planner.example/callback"], "application_type": "native"},
        {"redirect_uris": ["http://127.0.0.1/callback"]},
        {"redirect_uris": ["http://localhost/callback"]},
        {"redirect_uris": ["http://127.0.0.1.evil.example/callback"], "application_type": "native"},
        {"redirect_uris": ["https://planner.example/callback#f"]},
        {"redirect_uris": ["https://planner.example/*"]},
        {"redirect_uris": ["https://user@planner.example/"]},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": ["com.example.app:/cb"]},
        {"redirect_uris": ["app:/cb"], "application_type": "native"},
        {"redirect_uris": ["/callback"]},
        {"redirect_uris": []},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": "none", "grant_types": ["client_credentials"]},
        {"grant_types": ["password"]},
        {"grant_types": ["implicit"]},
        {"scope": "made:up"},
        {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}},
        {"client_name": ""},
        {"is_admin": True},
        {"tenant_id": str(uuid.uuid4())},
        {"client_id": str(uuid.uuid4())},
        {"secret": "mine"},
    ],
)
async def test_metadata_that_cannot_be_is_refused(door: Door, admin: dict[str, Any], changes: dict[str, Any]) -> None:
    reply = await door.client.post("/oauth2/clients", json={**METADATA, **changes}, headers=door.bearer(admin))
    assert problem(reply) == (422, "invalid_input")
    assert await door.rows("SELECT 1 FROM oauth_clients") == []


async def test_a_client_registers_itself_by_its_metadata(door: Door, admin: dict[str, Any]) -> None:
    body = {**METADATA, "software_id": "unknown to us", "roles": ["admin"], "first_party": True}
    reply = await door.client.post("/oauth2/register", json=body, headers=door.bearer(admin))
    assert reply.status_code == 201
    assert (reply.json()["roles"], reply.json()["first_party"]) == ([], False)
    assert reply.json()["client_id_issued_at"] <= time.time() + 5
    for bad, error in (
        ({"redirect_uris": ["http://planner.example/"]}, "invalid_redirect_uri"),
        ({"grant_types": ["password"]}, "invalid_client_metadata"),
    ):
        refused = await door.client.post("/oauth2/register", json={**METADATA, **bad}, headers=door.bearer(admin))
        assert (refused.status_code, refused.json()["error"]) == (400, error)
    nobody = await door.client.post("/oauth2/register", json=METADATA)
    assert problem(nobody) == (401, "unauthenticated")


def assertion(client: OAuthClient, key: SigningKey, **changes: Any) -> str:
    """A client's signed assertion (RFC 7523)."""
    now = int(time.time())
    claims = {"iss": client.id, "sub": client.id, "aud": ISSUER, "exp": now + 60, "jti": str(uuid.uuid4())}
    header = {"kid": key.kid, **changes.pop("header", {})}
    algorithm = changes.pop("algorithm", "ES256")
    signer = changes.pop("signer", key.key)
    said = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(said, signer, algorithm, header)


def by(signed: str, **more: str) -> dict[str, str]:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return {"grant_type": "client_credentials", "client_assertion_type": kind, "client_assertion": signed, **more}


async def test_a_client_authenticates_by_its_private_key(door: Door, admin: dict[str, Any]) -> None:
    key, other = generate_key(), generate_key()
    client = await registered(
        door, admin, **MACHINE, token_endpoint_auth_method="private_key_jwt", jwks={"keys": [key.public_jwk]}
    )

    async def answer(signed: str, **more: str) -> Any:
        return await door.client.post("/oauth2/token", data=by(signed, **more))

    signed = assertion(client, key)
    assert (await answer(signed)).status_code == 200
    assert (await answer(signed)).json()["error"] == "invalid_client", "an assertion is accepted once"
    assert (await answer(assertion(client, key, aud=f"{ISSUER}/oauth2/token"))).status_code == 200
    refused = [
        assertion(client, key, aud="https://other.example"),
        assertion(client, key, exp=int(time.time()) - 120),
        assertion(client, key, exp=int(time.time()) + 3600),
        assertion(client, key, jti=None),
        assertion(client, key, exp=None),
        assertion(client, key, exp=str(int(time.time()) + 60)),
        assertion(client, key, iss="other"),
        assertion(client, key, signer=other.key),
        assertion(client, key, algorithm="HS256", signer="x" * 64),
        assertion(client, key, algorithm="none", signer=None),
        assertion(client, other, header={"kid": "../../etc/passwd"}),
        "e30.e30.e30",
    ]
    for bent in refused:
        reply = await answer(bent)
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")
    assert (await answer(assertion(client, key), client_id=str(uuid.uuid4()))).status_code == 401


async def test_a_client_authenticates_by_its_registered_method_only(door: Door, admin: dict[str, Any]) -> None:
    client = await registered(door, admin, **MACHINE)
    posting = await registered(door, admin, **MACHINE, token_endpoint_auth_method="client_secret_post")
    form = {"grant_type": "client_credentials"}
    for one in (client, posting):
        in_form = await door.client.post(
            "/oauth2/token", data={**form, "client_id": one.id, "client_secret": str(one.secret)}
        )
        assert in_form.status_code == (200 if one is posting else 401)
        assert (await one.post("token", form)).status_code == (401 if one is posting else 200)
    refused = await door.client.post("/oauth2/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert refused.headers["www-authenticate"].startswith("Basic")
    twice = await client.post("token", {**form, "client_secret": str(client.secret)})
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    for credentials in ("x", "x:y", f"{client.id}:", f"{client.id}:wrong", f"{client.id.upper()}:{client.secret}"):
        basic = {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}
        assert (await door.client.post("/oauth2/token", data=form, headers=basic)).status_code == 401


async def test_a_disabled_client_gets_nothing(door: Door, admin: dict[str, Any]) -> None:
    client = await registered(door, admin, **MACHINE)
    tokens = (await client.post("token", {"grant_type": "client_credentials"})).json()
    server = await registered(door, admin)
    shown = (await server.post("introspect", {"token": tokens["access_token"]})).json()
    assert (shown["active"], shown["sub"]) == (True, client.id)
    path = f"/oauth2/clients/{client.id}"
    await door.client.patch(path, json={"disabled": True}, headers=door.bearer(admin))
    assert (await client.post("token", {"grant_type": "client_credentials"})).status_code == 401
    rows = await door.rows("SELECT kind, ref FROM revocations")
    assert {"kind": "session", "ref": client.id} in rows, "the feed ends its tokens"
    assert (await server.post("introspect", {"token": tokens["access_token"]})).json() == {"active": False}
    query = client.query(redirect_uri=CALLBACK)
    assert (await door.client.get("/oauth2/authorize", params=query)).status_code == 400


@pytest.mark.parametrize("how", ["disabled", "deleted"])
async def test_a_removed_clients_tokens_of_people_end(door: Door, admin: dict[str, Any], how: str) -> None:
    client, server = await registered(door, admin), await registered(door, admin)
    browser = Browser(door)
    await browser.sign_in("ann")
    tokens = (await client.redeem(await code_for(browser, client))).json()
    path, bearer = f"/oauth2/clients/{client.id}", door.bearer(admin)
    if how == "disabled":
        await door.client.patch(path, json={"disabled": True}, headers=bearer)
        await door.client.patch(path, json={"disabled": False}, headers=bearer)
        assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    else:
        await door.client.delete(path, headers=bearer)
    assert (await server.post("introspect", {"token": tokens["access_token"]})).json() == {"active": False}
    assert problem(await door.client.get("/auth/me", headers=door.bearer(tokens))) == (401, "invalid_token")
    sid = claims_of(tokens)["sid"]
    assert {"kind": "session", "ref": sid} in await door.rows("SELECT kind, ref FROM revocations")
    ended = (await door.rows("SELECT end_reason FROM sessions WHERE id = :id", id=sid))[0]
    assert ended["end_reason"] == "client_removed"
    assert (await door.client.get("/auth/me", headers=bearer)).status_code == 200


@pytest.mark.parametrize("change", [{"redirect_uris": ["https://elsewhere.example/"]}, {"disabled": False}, "secret"])
async def test_a_client_is_not_taken_over_by_less_than_registering_it_takes(
    door: Door, admin: dict[str, Any], change: Any
) -> None:
    """Who says where its codes are sent, or knows its secret, acts as the client."""
    trusted, machine = await registered(door, admin), await registered(door, admin, **MACHINE | {"roles": ["admin"]})
    await door.run("UPDATE oauth_clients SET first_party = true WHERE id = :id", id=trusted.id)
    narrow = (await door.login("ann", scope="admin:write tenant:write")).json()

    async def changed(client: OAuthClient, tokens: dict[str, Any]) -> Reply:
        path, headers = f"/oauth2/clients/{client.id}", door.bearer(tokens)
        if change == "secret":
            return await door.client.post(f"{path}/secret", headers=headers)
        return await door.client.patch(path, json=change, headers=headers)

    assert problem(await changed(trusted, admin)) == (403, "insufficient_scope")
    assert problem(await changed(machine, narrow)) == (403, "roles_exceeded")
    assert (await changed(machine, admin)).status_code == 200
    for client in (trusted, machine):
        path = f"/oauth2/clients/{client.id}"
        off = await door.client.patch(path, json={"disabled": True}, headers=door.bearer(narrow))
        assert (off.status_code, off.json()["disabled"]) == (200, True)
