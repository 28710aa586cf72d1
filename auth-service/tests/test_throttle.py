"""The throttle of sign-in: only failures count, an account's and an address's, over a quarter of an hour."""

import asyncio

from .door import Door, problem


async def test_ten_failures_close_the_account_whatever_the_password(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    for _ in range(10):
        assert problem(await door.login("ann", "Wrong-word-7")) == (401, "sign_in_refused")
    refused = await door.login("ann@example.com")
    assert problem(refused) == (429, "sign_in_throttled")
    assert 800 < int(refused.headers["retry-after"]) <= 901
    await door.run("UPDATE sign_in_failures SET failed_at = failed_at - interval '15 minutes'")
    assert (await door.login("ann")).status_code == 200


async def test_of_many_guesses_at_once_ten_learn_anything(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    replies = await asyncio.gather(*(door.login("ann", f"Guess-{number}") for number in range(30)))
    codes = [reply.status_code for reply in replies]
    assert (codes.count(401), codes.count(429)) == (10, 20)


async def test_a_name_that_nobody_has_is_throttled_the_same(door: Door) -> None:
    for _ in range(10):
        assert (await door.login("Nobody")).status_code == 401
    assert problem(await door.login("nobody")) == (429, "sign_in_throttled")


async def test_successes_never_count(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    replies = await asyncio.gather(*(door.login("ann") for _ in range(25)))
    assert {reply.status_code for reply in replies} == {200}


async def test_an_address_is_cut_off_after_its_failures_and_loopback_is_not(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    elsewhere = door.sent_from("2001:db8::1")
    assert (await door.login("bob", headers=elsewhere)).status_code == 401
    await door.run(
        "INSERT INTO sign_in_failures (id, key) SELECT gen_random_uuid(), key FROM sign_in_failures, "
        "generate_series(1, 99)"
    )
    neighbour = door.sent_from("2001:db8::2")  # the same customer's network
    assert problem(await door.login("ann", headers=neighbour)) == (429, "sign_in_throttled")
    assert (await door.login("ann", headers=door.sent_from("2001:db9::1"))).status_code == 200
    assert (await door.login("ann")).status_code == 200


async def test_an_address_that_no_gateway_signed_counts_nothing(door: Door) -> None:
    tasks = door.people.signer("tasks")
    forged = [
        {"X-Forwarded-For": "2001:db8::1", "Forwarded": "for=2001:db8::1", "X-Real-IP": "2001:db8::1"},
        {"X-Client-Address": "2001:db8::1"},
        {"X-Client-Address": tasks.sign_address("2001:db8::1", "auth")},
        {"X-Client-Address": door.people.signer("gateway").sign_address("2001:db8::1", "users")},
    ]
    for headers in forged:
        assert (await door.login("bob", headers=headers)).status_code == 401
    assert len(await door.rows("SELECT DISTINCT key FROM sign_in_failures")) == 1  # the name; loopback is not counted
    assert (await door.login("bob", headers=door.sent_from("2001:db8::1"))).status_code == 401
    assert len(await door.rows("SELECT DISTINCT key FROM sign_in_failures")) == 2


async def test_an_address_token_identifies_nobody(door: Door) -> None:
    token = door.people.signer("gateway").sign_address("2001:db8::1", "auth")
    reply = await door.client.get("/auth/me", headers=door.people.headers(token))
    assert problem(reply) == (401, "invalid_token")
