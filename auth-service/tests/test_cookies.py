"""Cookie mode: the refresh token where no script reads it, believed only from a page of ours with its CSRF token."""

from .door import Door, problem

ORIGIN = {"Origin": "http://localhost:8000"}


async def test_the_refresh_token_is_a_cookie_that_no_script_reads(door: Door) -> None:
    await door.register("ann", slug="acme")
    reply = await door.login("ann", cookie=True)
    body = reply.json()
    assert "refresh_token" not in body
    assert body["csrf_token"]
    name, *flags = reply.headers["set-cookie"].split("; ")
    assert name.startswith("flotilla_refresh=")
    assert set(flags) == {"HttpOnly", "Path=/auth", "SameSite=strict"}  # it ends with the browser


async def test_the_cookie_of_a_remembered_session_outlives_the_browser(door: Door) -> None:
    await door.register("ann", slug="acme")
    reply = await door.login("ann", cookie=True, remember_me=True)
    headers = {**ORIGIN, "X-CSRF-Token": reply.json()["csrf_token"]}
    refreshed = await door.client.post("/auth/refresh", json={}, headers=headers)
    for answer in (reply, refreshed):
        assert "Max-Age=2592000" in answer.headers["set-cookie"]


async def test_a_refresh_by_cookie_needs_origin_and_csrf_token_else_nothing_rotates(door: Door) -> None:
    await door.register("ann", slug="acme")
    csrf = {"X-CSRF-Token": (await door.login("ann", cookie=True)).json()["csrf_token"]}
    other = {"X-CSRF-Token": (await door.login("ann", cookie=False)).json()["access_token"][:60]}
    for headers in (
        {},
        csrf,
        ORIGIN,
        {**ORIGIN, "X-CSRF-Token": "wrong"},
        {**ORIGIN, **other},
        {**csrf, "Origin": "http://evil.example"},
        {**csrf, "Origin": "https://localhost:8000"},
        {**csrf, "Origin": "http://a.b.localhost:8000"},
        {**csrf, "Origin": "http://globex.localhost:8000"},  # no tenant's
        {**csrf, "Origin": "null"},
    ):
        reply = await door.client.post("/auth/refresh", json={}, headers=headers)
        assert problem(reply) == (403, "csrf_refused"), headers
    assert {row["generation"] for row in await door.rows("SELECT generation FROM sessions")} == {0}

    for origin in ("http://localhost:8000", "http://acme.localhost:8000", "https://console.example"):
        reply = await door.client.post("/auth/refresh", json={}, headers={**csrf, "Origin": origin})
        assert reply.status_code == 200, origin
        assert reply.json()["csrf_token"] == csrf["X-CSRF-Token"]
        assert "refresh_token" not in reply.json()
        assert reply.headers["set-cookie"].startswith("flotilla_refresh=")


async def test_without_a_cookie_there_is_nothing_to_refresh(door: Door) -> None:
    reply = await door.client.post("/auth/refresh", json={}, headers=ORIGIN)
    assert problem(reply) == (401, "refresh_refused")


async def test_logout_expires_the_cookie(door: Door) -> None:
    await door.register("ann", slug="acme")
    tokens = (await door.login("ann", cookie=True)).json()
    reply = await door.client.post("/auth/logout", headers=door.bearer(tokens))
    assert reply.status_code == 204
    assert "Max-Age=0" in reply.headers["set-cookie"]
    assert "flotilla_refresh" not in door.client.cookies
