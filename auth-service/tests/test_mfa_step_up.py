"""Step-up: an operation asks for a recent or a stronger authentication, and the session gets it (RFC 9470)."""

import time
from typing import Any

import pytest

from .door import PASSWORD, Door, Reply, claims_of, new_password, problem
from .factors import add_app, add_passkey, fresh, post


async def an_hour_passes(door: Door, tokens: dict[str, Any]) -> dict[str, Any]:
    """The session's tokens an hour after its sign-in."""
    await door.run("UPDATE sessions SET auth_time = auth_time - interval '1 hour'")
    return await fresh(door, tokens)


def with_token(tokens: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """The session's tokens with the access token of a step-up."""
    assert reply.status_code == 200, reply.text
    assert "refresh_token" not in reply.json()
    return {**tokens, "access_token": reply.json()["access_token"]}


async def test_a_password_steps_up_a_person_without_factors(door: Door) -> None:
    tokens = await an_hour_passes(door, await door.signed_up("ann", slug="acme"))
    refused = await post(door, "/totp", tokens)
    assert problem(refused) == (401, "insufficient_user_authentication")
    error = 'Bearer realm="flotilla", error="insufficient_user_authentication"'
    assert refused.headers["www-authenticate"] == f'{error}, max_age="600"'
    wrong = await post(door, "/step-up", tokens, method="password", password="Wrong-word-7")
    assert problem(wrong) == (403, "confirmation_refused")
    before = int(time.time())
    tokens = with_token(tokens, await post(door, "/step-up", tokens, method="password", password=PASSWORD))
    claims = claims_of(tokens)
    assert (claims["acr"], claims["auth_time"] >= before - 1) == ("aal1", True)
    assert claims_of(await fresh(door, tokens))["auth_time"] == claims["auth_time"]  # the session's next ones too
    assert (await post(door, "/totp", tokens)).status_code == 201
    kinds = await door.rows("SELECT details FROM security_events WHERE kind = 'stepped_up'")
    assert [row["details"] for row in kinds] == [{"methods": ["pwd"]}]


async def test_wrong_passwords_are_throttled(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    for _ in range(10):
        await post(door, "/step-up", tokens, method="password", password="Wrong-word-7")
    reply = await post(door, "/step-up", tokens, method="password", password=PASSWORD)
    assert problem(reply) == (429, "sign_in_throttled")


async def test_a_person_with_a_factor_steps_up_by_it(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    other = (await door.login("ann")).json()
    app, codes = await add_app(door, tokens)
    refused = await post(door, "/recovery-codes", other)  # signed in a moment ago, by the password alone
    assert problem(refused) == (401, "insufficient_user_authentication")
    assert 'acr_values="aal2", max_age="600"' in refused.headers["www-authenticate"]
    password = await post(door, "/step-up", other, method="password", password=PASSWORD)
    assert problem(password) == (403, "factor_needed")
    wrong = await post(door, "/step-up", other, method="totp", code=app.wrong_code())
    assert problem(wrong) == (401, "second_factor_refused")
    code = app.code()
    other = with_token(other, await post(door, "/step-up", other, method="totp", code=code))
    assert (claims_of(other)["amr"], claims_of(other)["acr"]) == (["mfa", "otp", "pwd"], "aal2")
    assert problem(await post(door, "/step-up", other, method="totp", code=code)) == (401, "second_factor_refused")
    assert (await post(door, "/recovery-codes", other)).status_code == 201
    spent = await post(door, "/step-up", other, method="recovery_code", code=codes[0])
    assert problem(spent) == (401, "second_factor_refused")


async def test_a_passkey_steps_up(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    device = await add_passkey(door, tokens)
    tokens = await an_hour_passes(door, tokens)
    assert problem(await post(door, "/recovery-codes", tokens)) == (401, "insufficient_user_authentication")
    options = (await post(door, "/step-up/options", tokens)).json()["options"]
    stepped = await post(door, "/step-up", tokens, method="passkey", credential=device.get(options))
    assert (await post(door, "/recovery-codes", with_token(tokens, stepped))).status_code == 201


async def test_a_second_factor_protects_the_password(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    other = (await door.login("ann")).json()
    app, _ = await add_app(door, tokens)
    body = {"current_password": PASSWORD, **new_password("Other-word-8")}
    refused = await door.client.post("/auth/password", json=body, headers=door.bearer(other))
    assert problem(refused) == (401, "insufficient_user_authentication")
    other = with_token(other, await post(door, "/step-up", other, method="totp", code=app.code()))
    changed = await door.client.post("/auth/password", json=body, headers=door.bearer(other))
    assert changed.status_code == 200, changed.text


@pytest.mark.parametrize("path", ["/totp", "/passkeys/options", "/recovery-codes"])
async def test_every_change_of_factors_needs_a_recent_sign_in(door: Door, path: str) -> None:
    tokens = await an_hour_passes(door, await door.signed_up("ann", slug="acme"))
    assert problem(await post(door, path, tokens)) == (401, "insufficient_user_authentication")


async def test_an_ended_session_steps_up_no_longer(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    await door.client.post("/auth/logout", headers=door.bearer(tokens))
    reply = await post(door, "/step-up", tokens, method="password", password=PASSWORD)
    assert problem(reply) == (401, "invalid_token")


async def test_a_new_api_key_needs_a_recent_sign_in(door: Door) -> None:
    tokens = await an_hour_passes(door, await door.signed_up("ann", slug="acme"))
    body = {"name": "Nightly import", "scopes": ["chat:read"]}
    refused = await door.client.post("/auth/api-keys", json=body, headers=door.bearer(tokens))
    assert problem(refused) == (401, "insufficient_user_authentication")
    tokens = with_token(tokens, await post(door, "/step-up", tokens, method="password", password=PASSWORD))
    made = await door.client.post("/auth/api-keys", json=body, headers=door.bearer(tokens))
    assert made.status_code == 201, made.text


async def test_a_second_factor_protects_the_email_address(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    bob = await door.signed_up("bob", slug="globex")
    await add_app(door, tokens)
    body = {"username": "ann", "password": PASSWORD, "email": "eve@example.com"}
    for headers in ({}, door.bearer(bob), door.bearer(tokens)):  # the last one is from before the factor
        refused = await door.client.post("/auth/verify-email/request", json=body, headers=headers)
        assert problem(refused) == (401, "insufficient_user_authentication")
    asked = await door.client.post(
        "/auth/verify-email/request", json=body, headers=door.bearer(await fresh(door, tokens))
    )
    assert asked.status_code == 202
    again = {"username": "ann", "password": PASSWORD}  # another link to the same address
    assert (await door.client.post("/auth/verify-email/request", json=again)).status_code == 202
