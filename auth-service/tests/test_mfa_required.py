"""A tenant that requires a second factor: at sign-in, at refresh, and for a session from another tenant."""

from typing import Any

import pytest

from .door import Door, claims_of, problem
from .factors import App, asked, fresh, post, verify


@pytest.fixture
def settings_values(settings_values: dict[str, Any]) -> dict[str, Any]:
    return settings_values | {"mfa": {"required": True}}


async def enrolled(door: Door, name: str) -> tuple[App, dict[str, Any]]:
    """A person who adds an app as they sign in, and the sign-in."""
    challenge = await asked(door, name)
    assert (challenge["methods"], challenge["enrol"]) == (["totp"], True)
    reply = await post(door, "/enrol", mfa_token=challenge["mfa_token"], name="Phone")
    assert (reply.status_code, reply.headers["cache-control"]) == (201, "no-store")
    app = App(reply.json()["secret"])
    wrong = await verify(door, challenge["mfa_token"], "totp", code=app.wrong_code())
    assert problem(wrong) == (401, "second_factor_refused")
    signed_in = await verify(door, challenge["mfa_token"], "totp", code=app.code())
    assert signed_in.status_code == 200, signed_in.text
    return app, signed_in.json()


async def test_a_person_without_a_factor_adds_one_as_they_sign_in(door: Door) -> None:
    await door.register("ann", slug="acme")
    app, tokens = await enrolled(door, "ann")
    assert claims_of(tokens)["acr"] == "aal2"
    challenge = await asked(door)
    assert (challenge["methods"], challenge["enrol"]) == (["totp"], False)
    late = await post(door, "/enrol", mfa_token=challenge["mfa_token"])
    assert problem(late) == (401, "mfa_token_invalid")  # who knows the password alone adds no factor
    assert (await verify(door, challenge["mfa_token"], "totp", code=app.code())).status_code == 200
    assert (await post(door, "/recovery-codes", tokens)).status_code == 201


async def test_sessions_from_before_the_rule_get_no_more_tokens(door: Door) -> None:
    await door.register("ann", slug="acme")
    app, before = await enrolled(door, "ann")
    await door.run("UPDATE sessions SET amr = '{pwd}'")
    assert problem(await door.refresh(before["refresh_token"])) == (401, "second_factor_missing")
    elsewhere = await door.client.post("/auth/sessions", json={"tenant": "acme"}, headers=door.bearer(before))
    assert problem(elsewhere) == (401, "insufficient_user_authentication")
    assert 'acr_values="aal2"' in elsewhere.headers["www-authenticate"]
    stepped = await post(door, "/step-up", before, method="totp", code=app.code())  # its access token is still valid
    assert stepped.status_code == 200
    assert claims_of(await fresh(door, before))["acr"] == "aal2"  # the refused refresh used up nothing
    opened = await door.client.post("/auth/sessions", json={"tenant": "acme"}, headers=door.bearer(before))
    assert opened.status_code == 201
