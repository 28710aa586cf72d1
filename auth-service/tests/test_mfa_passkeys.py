"""Passkeys, by an authenticator in software: registering one, signing in with it beside or without the password."""

import asyncio
from typing import Any

import pytest

from .authenticator import Authenticator
from .door import Door, Reply, claims_of, problem
from .factors import add_passkey, asked, fresh, post, verify


async def sign_in(door: Door, device: Authenticator, **more: Any) -> Reply:
    """Without username and password."""
    options = (await post(door, "/passkeys/sign-in/options")).json()["options"]
    assert options["allowCredentials"] == []
    return await post(door, "/passkeys/sign-in", credential=device.get(options), **more)


async def options_for(door: Door, challenge: dict[str, Any]) -> dict[str, Any]:
    """Of a sign-in that waits for its second factor."""
    reply = await post(door, "/passkeys/sign-in/options", mfa_token=challenge["mfa_token"])
    options: dict[str, Any] = reply.json()["options"]
    return options


async def test_a_passkey_is_a_second_factor(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    device = await add_passkey(door, tokens)
    challenge = await asked(door)
    assert challenge["methods"] == ["passkey", "recovery_code"]
    options = await options_for(door, challenge)
    assert (options["rpId"], options["userVerification"]) == ("localhost", "required")
    answer = device.get(options)
    reply = await verify(door, challenge["mfa_token"], "passkey", credential=answer)
    assert reply.status_code == 200, reply.text
    claims = claims_of(reply.json())
    assert (claims["amr"], claims["acr"]) == (["hwk", "mfa", "pwd", "user"], "aal2")
    replayed = await verify(door, (await asked(door))["mfa_token"], "passkey", credential=answer)
    assert problem(replayed) == (401, "second_factor_refused")


async def test_a_passkey_signs_in_alone(door: Door) -> None:
    await door.signed_up("bob", slug="globex")
    device = await add_passkey(door, await door.signed_up("ann", slug="acme"), synchronized=True)
    reply = await sign_in(door, device, tenant="acme", scope="chat:read")
    assert reply.status_code == 200, reply.text
    claims = claims_of(reply.json())
    assert (claims["preferred_username"], claims["scope"]) == ("ann", "chat:read")
    assert (claims["amr"], claims["acr"]) == (["mfa", "swk", "user"], "aal2")
    cookie = await sign_in(door, device, cookie=True)
    assert "flotilla_refresh=" in cookie.headers["set-cookie"]


async def test_of_twenty_with_one_answer_one_signs_in(door: Door) -> None:
    device = await add_passkey(door, await door.signed_up("ann", slug="acme"))
    answer = device.get((await post(door, "/passkeys/sign-in/options")).json()["options"])
    replies = await asyncio.gather(*(post(door, "/passkeys/sign-in", credential=answer) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] + [401] * 19


@pytest.mark.parametrize(
    "traits",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:8000.evil.example"},
        {"origin": "http://nobody.localhost:8000"},
        {"verifies": False},
        {"sign_count": -1},
        {"credential_id": b"another passkey"},
        {"user_handle": b"another person"},
    ],
)
async def test_an_answer_that_is_not_right_is_refused(door: Door, traits: dict[str, Any]) -> None:
    device = await add_passkey(door, await door.signed_up("ann", slug="acme"))
    for name, value in traits.items():
        setattr(device, name, value)
    assert problem(await sign_in(door, device)) == (401, "passkey_refused")
    assert await door.rows("SELECT 1 FROM passkey_challenges") == []  # used up all the same
    refused = await door.rows("SELECT details FROM security_events WHERE kind = 'sign_in_refused'")
    assert [row["details"] for row in refused] == [{"reason": "passkey_refused"}]


async def test_a_page_of_a_tenants_subdomain_may_use_them(door: Door) -> None:
    device = await add_passkey(door, await door.signed_up("ann", slug="acme"))
    device.origin = "http://acme.localhost:8000"
    assert (await sign_in(door, device)).status_code == 200


async def test_a_copied_key_is_noticed_by_its_counter(door: Door) -> None:
    device = await add_passkey(door, await door.signed_up("ann", slug="acme"))
    assert (await sign_in(door, device)).status_code == 200
    device.sign_count -= 1
    assert problem(await sign_in(door, device)) == (401, "passkey_refused")


async def test_a_device_without_a_counter_signs_in_again(door: Door) -> None:
    device = await add_passkey(door, await door.signed_up("ann", slug="acme"), counts=False)
    for _ in range(2):
        assert (await sign_in(door, device)).status_code == 200


async def test_a_challenge_is_for_its_purpose_and_person_and_expires(door: Door) -> None:
    ann = await add_passkey(door, await door.signed_up("ann", slug="acme"))
    bob = await add_passkey(door, await door.signed_up("bob", slug="globex"))
    challenge = await asked(door)
    alone = (await post(door, "/passkeys/sign-in/options")).json()["options"]
    wrong_purpose = await verify(door, challenge["mfa_token"], "passkey", credential=ann.get(alone))
    assert problem(wrong_purpose) == (401, "second_factor_refused")
    options = await options_for(door, challenge)
    other_person = await verify(door, challenge["mfa_token"], "passkey", credential=bob.get(options))
    assert problem(other_person) == (401, "second_factor_refused")
    options = await options_for(door, challenge)
    await door.run("UPDATE passkey_challenges SET expires_at = now()")
    expired = await verify(door, challenge["mfa_token"], "passkey", credential=ann.get(options))
    assert problem(expired) == (401, "second_factor_refused")
    made_up = {**options, "challenge": "AAAA"}
    forged = await verify(door, challenge["mfa_token"], "passkey", credential=ann.get(made_up))
    assert problem(forged) == (401, "second_factor_refused")


async def test_a_person_has_several_passkeys_with_names(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    first = await add_passkey(door, tokens)
    tokens = await fresh(door, tokens)
    options = (await post(door, "/passkeys/options", tokens)).json()["options"]
    assert [one["id"] for one in options["excludeCredentials"]] == [first.get({**options, "rpId": "x"})["id"]]
    known = await post(door, "/passkeys", tokens, name="Again", credential=first.create(options))
    assert problem(known) == (409, "passkey_known")
    second = await add_passkey(door, tokens)
    listed = (await door.client.get("/auth/mfa", headers=door.bearer(tokens))).json()["factors"]
    assert [(one["method"], one["name"]) for one in listed] == [("passkey", "Laptop")] * 2
    gone = await door.client.delete(f"/auth/mfa/factors/{listed[0]['id']}", headers=door.bearer(tokens))
    assert gone.status_code == 204
    assert problem(await sign_in(door, first)) == (401, "passkey_refused")
    assert (await sign_in(door, second)).status_code == 200


@pytest.mark.parametrize("traits", [{"verifies": False}, {"origin": "https://evil.example"}])
async def test_a_registration_that_is_not_right_is_refused(door: Door, traits: dict[str, Any]) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    options = (await post(door, "/passkeys/options", tokens)).json()["options"]
    reply = await post(door, "/passkeys", tokens, credential=Authenticator(**traits).create(options))
    assert problem(reply) == (403, "factor_refused")
    again = await post(door, "/passkeys", tokens, credential=Authenticator().create(options))
    assert problem(again) == (403, "factor_refused")  # the challenge is used up


@pytest.mark.parametrize(
    "credential",
    [
        {},
        {"response": None},
        {"response": {"clientDataJSON": 7}},
        {"response": {"clientDataJSON": "e30"}},
        {"response": {"clientDataJSON": "not base64!"}},
        {"rawId": ["x"], "response": {"clientDataJSON": "W10"}},
    ],
)
async def test_a_malformed_credential_is_refused(door: Door, credential: dict[str, Any]) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    assert problem(await post(door, "/passkeys/sign-in", credential=credential)) == (401, "passkey_refused")
    assert problem(await post(door, "/passkeys", tokens, credential=credential)) == (403, "factor_refused")


@pytest.mark.parametrize(
    "part", ["clientDataJSON", "authenticatorData", "signature", "userHandle", "attestationObject"]
)
@pytest.mark.parametrize("value", ["", "AAAA", "oWF4", None, 7])
async def test_a_right_challenge_with_a_malformed_part_is_refused(door: Door, part: str, value: Any) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    device = await add_passkey(door, tokens)
    if part == "attestationObject":
        options = (await post(door, "/passkeys/options", await fresh(door, tokens))).json()["options"]
        credential = Authenticator().create(options)
        credential["response"][part] = value
        reply = await post(door, "/passkeys", await fresh(door, tokens), credential=credential)
        assert problem(reply) == (403, "factor_refused")
        return
    options = (await post(door, "/passkeys/sign-in/options")).json()["options"]
    credential = device.get(options)
    credential["response"][part] = value
    reply = await post(door, "/passkeys/sign-in", credential=credential)
    if part == "userHandle" and value is None:
        assert reply.status_code == 200
    else:
        assert problem(reply) == (401, "passkey_refused")
