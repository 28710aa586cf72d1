"""Authenticator apps and recovery codes, and the sign-in that asks for them."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.testing import eventually

from .door import Door, claims_of, new_password, problem
from .factors import App, add_app, asked, fresh, post, verify
from .mailbox import Mailbox


async def test_a_sign_in_with_an_app_takes_both_factors(door: Door, mailbox: Mailbox) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    app, codes = await add_app(door, tokens)
    assert len(set(codes)) == 10
    assert [str(mail["Subject"]) for mail in [await mailbox.received(1)]] == [
        "A second factor was added to your account"
    ]
    challenge = await asked(door, scope="chat:read", tenant="acme")
    assert (challenge["methods"], challenge["enrol"]) == (["totp", "recovery_code"], False)
    reply = await verify(door, challenge["mfa_token"], "totp", code=app.code())
    assert reply.status_code == 200
    signed_in = reply.json()
    assert signed_in["scope"] == "chat:read"  # as chosen at the first step
    claims = claims_of(signed_in)
    assert (claims["amr"], claims["acr"]) == (["mfa", "otp", "pwd"], "aal2")
    assert claims_of(await fresh(door, signed_in))["acr"] == "aal2"
    assert problem(await verify(door, challenge["mfa_token"], "totp", code=app.code())) == (401, "mfa_token_invalid")


async def test_the_uri_is_what_apps_scan_and_the_secret_is_stored_encrypted(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    enrolled = (await post(door, "/totp", tokens, name="Phone")).json()
    parts = urlsplit(enrolled["uri"])
    assert (parts.scheme, parts.netloc, parts.path) == ("otpauth", "totp", "/Flotilla:ann")
    assert parse_qs(parts.query) == {"secret": [enrolled["secret"]], "issuer": ["Flotilla"]}
    [row] = await door.rows("SELECT secret FROM totp_factors")
    assert enrolled["secret"].encode() not in row["secret"]
    assert (await door.login("ann")).status_code == 200  # not confirmed: not a factor yet
    refused = await post(door, f"/totp/{enrolled['id']}/confirm", tokens, code="000000x")
    assert problem(refused) == (403, "factor_refused")


async def test_the_session_that_adds_a_factor_has_proven_it(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    other = (await door.login("ann")).json()
    await add_app(door, tokens)
    assert claims_of(await fresh(door, tokens))["acr"] == "aal2"
    assert claims_of(await fresh(door, other))["acr"] == "aal1"  # it lives on as it was


async def test_a_code_works_once(door: Door) -> None:
    app, _ = await add_app(door, await door.signed_up("ann", slug="acme"))
    code = app.code()
    assert (await verify(door, (await asked(door))["mfa_token"], "totp", code=code)).status_code == 200
    again = await asked(door)
    assert problem(await verify(door, again["mfa_token"], "totp", code=code)) == (401, "second_factor_refused")
    assert (await verify(door, again["mfa_token"], "totp", code=app.code())).status_code == 200


async def test_a_code_of_a_step_before_the_last_one_used_is_refused(door: Door) -> None:
    app, _ = await add_app(door, await door.signed_up("ann", slug="acme"))
    challenge = await asked(door)
    assert (await verify(door, challenge["mfa_token"], "totp", code=app.code_in(1))).status_code == 200
    challenge = await asked(door)
    for steps in (0, -1, 3, -3):
        reply = await verify(door, challenge["mfa_token"], "totp", code=app.code_in(steps))
        assert problem(reply) == (401, "second_factor_refused"), steps


async def test_of_twenty_sign_ins_with_one_code_one_succeeds(door: Door) -> None:
    app, _ = await add_app(door, await door.signed_up("ann", slug="acme"))
    attempts = [await asked(door) for _ in range(20)]
    code = app.code()
    replies = await asyncio.gather(*(verify(door, one["mfa_token"], "totp", code=code) for one in attempts))
    codes = [reply.status_code for reply in replies]
    assert (codes.count(200), codes.count(401), codes.count(429)) == (1, 10, 9)


async def test_of_twenty_answers_to_one_attempt_one_signs_in(door: Door) -> None:
    app, _ = await add_app(door, await door.signed_up("ann", slug="acme"))
    token, code = (await asked(door))["mfa_token"], app.code()
    replies = await asyncio.gather(*(verify(door, token, "totp", code=code) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] + [401] * 19
    assert len(await door.rows("SELECT 1 FROM sessions WHERE amr @> '{mfa,otp}' AND ended_at IS NULL")) == 2


async def test_wrong_codes_are_throttled_and_recovery_codes_still_work(door: Door) -> None:
    app, codes = await add_app(door, await door.signed_up("ann", slug="acme"))
    token = (await asked(door))["mfa_token"]
    for _ in range(10):
        assert problem(await verify(door, token, "totp", code=app.wrong_code())) == (401, "second_factor_refused")
    throttled = await verify(door, token, "totp", code=app.code())
    assert problem(throttled) == (429, "sign_in_throttled")
    assert int(throttled.headers["retry-after"]) > 800
    assert (await verify(door, token, "recovery_code", code=codes[0])).status_code == 200
    assert len(await door.rows("SELECT 1 FROM security_events WHERE kind = 'second_factor_refused'")) == 10


async def test_of_many_guesses_at_once_ten_learn_anything(door: Door) -> None:
    app, _ = await add_app(door, await door.signed_up("ann", slug="acme"))
    attempts = [await asked(door) for _ in range(30)]
    wrong = app.wrong_code()
    replies = await asyncio.gather(*(verify(door, one["mfa_token"], "totp", code=wrong) for one in attempts))
    codes = [reply.status_code for reply in replies]
    assert (codes.count(401), codes.count(429)) == (10, 20)


async def test_who_lacks_the_password_cannot_use_up_the_codes(door: Door) -> None:
    app, _ = await add_app(door, await door.signed_up("ann", slug="acme"))
    for _ in range(12):
        assert problem(await verify(door, "guessed", "totp", code=app.wrong_code())) == (401, "mfa_token_invalid")
    for _ in range(9):
        assert problem(await door.login("ann", "Wrong-word-7")) == (401, "sign_in_refused")
    assert (await verify(door, (await asked(door))["mfa_token"], "totp", code=app.code())).status_code == 200


async def test_a_recovery_code_works_once_however_it_is_typed(door: Door, mailbox: Mailbox) -> None:
    _, codes = await add_app(door, await door.signed_up("ann", slug="acme"))
    first = await verify(
        door, (await asked(door))["mfa_token"], "recovery_code", code=codes[3].upper().replace("-", " ")
    )
    assert (first.status_code, claims_of(first.json())["acr"]) == (200, "aal2")
    again = await verify(door, (await asked(door))["mfa_token"], "recovery_code", code=codes[3])
    assert problem(again) == (401, "second_factor_refused")
    assert (await mailbox.received(2))["Subject"] == "A recovery code was used"
    listed = await door.client.get("/auth/mfa", headers=door.bearer(first.json()))
    assert listed.json()["recovery_codes_left"] == 9
    stored = await door.rows("SELECT digest FROM recovery_codes")
    assert all(codes[0].replace("-", "").encode() not in row["digest"] for row in stored)


async def test_new_recovery_codes_replace_the_old(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    assert problem(await post(door, "/recovery-codes", tokens)) == (409, "no_factor")
    _, old = await add_app(door, tokens)
    tokens = await fresh(door, tokens)
    made = await post(door, "/recovery-codes", tokens)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    new = made.json()["recovery_codes"]
    assert not set(old) & set(new)
    challenge = await asked(door)
    refused = await verify(door, challenge["mfa_token"], "recovery_code", code=old[0])
    assert problem(refused) == (401, "second_factor_refused")
    assert (await verify(door, challenge["mfa_token"], "recovery_code", code=new[0])).status_code == 200


async def test_a_removed_factor_is_asked_for_no_longer(door: Door, mailbox: Mailbox) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    other = (await door.login("ann")).json()
    await add_app(door, tokens)
    tokens = await fresh(door, tokens)
    [factor] = (await door.client.get("/auth/mfa", headers=door.bearer(tokens))).json()["factors"]
    assert (factor["method"], factor["name"]) == ("totp", "Phone")
    removed = await door.client.delete(f"/auth/mfa/factors/{factor['id']}", headers=door.bearer(tokens))
    assert removed.status_code == 204
    again = await door.client.delete(f"/auth/mfa/factors/{factor['id']}", headers=door.bearer(tokens))
    assert problem(again) == (404, "factor_not_found")
    assert (await door.login("ann")).status_code == 200
    assert await door.rows("SELECT 1 FROM recovery_codes") == []
    assert (await door.refresh(other["refresh_token"])).status_code == 200  # other sessions stay
    await eventually(lambda: len(mailbox.mails) == 2)
    kinds = await door.rows("SELECT kind FROM security_events WHERE kind LIKE 'factor%' ORDER BY created_at")
    assert [row["kind"] for row in kinds] == ["factor_added", "factor_removed"]


async def test_another_persons_factor_is_not_found(door: Door) -> None:
    ann, bob = await door.signed_up("ann", slug="acme"), await door.signed_up("bob", slug="globex")
    enrolled = (await post(door, "/totp", ann)).json()
    code = App(enrolled["secret"]).code()
    confirmed = await post(door, f"/totp/{enrolled['id']}/confirm", bob, code=code)
    assert problem(confirmed) == (404, "factor_not_found")
    removed = await door.client.delete(f"/auth/mfa/factors/{enrolled['id']}", headers=door.bearer(bob))
    assert problem(removed) == (404, "factor_not_found")


async def test_the_number_of_factors_is_bounded(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    await add_app(door, tokens)
    tokens = await fresh(door, tokens)
    for number in range(9):
        await add_app(door, tokens, name=f"Phone {number}")
    assert problem(await post(door, "/totp", tokens)) == (409, "too_many_factors")


async def test_an_attempt_expires_and_ends_with_a_new_password(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    app, _ = await add_app(door, tokens)
    token = (await asked(door))["mfa_token"]
    await door.run("UPDATE mfa_attempts SET expires_at = now()")
    assert problem(await verify(door, token, "totp", code=app.code_in(0))) == (401, "mfa_token_invalid")
    token, tokens = (await asked(door))["mfa_token"], await fresh(door, tokens)
    body = {"current_password": "Sail-away-7", **new_password("Other-word-8")}
    changed = await door.client.post("/auth/password", json=body, headers=door.bearer(tokens))
    assert changed.status_code == 200, changed.text
    assert problem(await verify(door, token, "totp", code=app.code_in(0))) == (401, "mfa_token_invalid")


async def test_a_wrong_password_never_reveals_a_second_factor(door: Door) -> None:
    await add_app(door, await door.signed_up("ann", slug="acme"))
    await door.signed_up("bob", slug="globex")
    replies = [await door.login(name, "Wrong-word-7") for name in ("ann", "bob", "nobody")]
    bodies = [{**reply.json(), "request_id": None} for reply in replies]
    assert bodies[0] == bodies[1] == bodies[2]
    assert problem(replies[0]) == (401, "sign_in_refused")


async def test_a_cookie_chosen_at_the_first_step_is_set_at_the_second(door: Door) -> None:
    app, _ = await add_app(door, await door.signed_up("ann", slug="acme"))
    challenge = await asked(door, cookie=True)
    reply = await verify(door, challenge["mfa_token"], "totp", code=app.code())
    assert "flotilla_refresh=" in reply.headers["set-cookie"]
    assert "refresh_token" not in reply.json()
    assert reply.json()["csrf_token"]


@pytest.mark.parametrize("body", [{"method": "totp"}, {"method": "recovery_code"}, {"method": "passkey"}])
async def test_a_proof_without_its_value_is_refused(door: Door, body: dict[str, str]) -> None:
    await add_app(door, await door.signed_up("ann", slug="acme"))
    reply = await verify(door, (await asked(door))["mfa_token"], **body)
    assert problem(reply) == (401, "second_factor_refused")
