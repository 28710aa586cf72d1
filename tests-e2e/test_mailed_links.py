"""Mailed links through the gateway: the pages in a browser, and where their secret is not."""

import json
import re
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from browser import Page
from people import PASSWORD, Town
from redis.asyncio import Redis

from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

NEW_PASSWORD = "Other-word-8"
OTHERS = ("users", "chat", "tasks")


async def mailed_to(town: Town, address: str, number: int = 1) -> str:
    """The text of the `number`th mail that the catcher has for the address."""

    async def look() -> str | None:
        caught: list[dict[str, Any]] = (await town.http.get(f"{town.fleet.mail_url}/messages")).json()
        texts = [str(mail["text"]) for mail in caught if mail["to"] == [address]]
        return texts[number - 1] if len(texts) >= number else None

    return await eventually(look, saying=f"mail to {address}") or ""


def link_in(text: str) -> str:
    [link] = re.findall(r"https?://\S+", text)
    return str(link)


async def ask_for_a_link(town: Town, address: str) -> str:
    asked = await town.http.post(f"{town.urls[0]}/auth/password/reset", json={"email": address})
    assert asked.status_code == 202, asked.text
    return link_in(await mailed_to(town, address))


async def test_a_password_is_set_in_a_browser_by_keyboard_alone(town: Town, page: Page, tmp_path: Path) -> None:
    ann = await town.founder()
    await page.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    await page.send("Page.navigate", url=f"{town.urls[0]}/auth/pages/password/reset")
    await page.until("document.activeElement?.id === 'email'")
    address = f"{ann.username}@example.com"
    await page.send("Input.insertText", text=address)
    await press(page, "Enter")
    await page.until("location.pathname === '/auth/pages/password/reset/sent'")

    link = urlsplit(link_in(await mailed_to(town, address)))
    await page.send("Page.navigate", url=f"{town.urls[1]}{link.path}?{link.query}")
    await page.until("document.activeElement?.id === 'password'")
    assert await page.run("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    await page.send("Input.insertText", text=NEW_PASSWORD)
    await press(page, "Tab")
    await page.send("Input.insertText", text=NEW_PASSWORD)
    await press(page, "Tab")
    assert await page.run("document.activeElement?.tagName") == "BUTTON"
    await press(page, "Enter")
    await page.until("location.pathname === '/auth/pages/password-changed'")
    assert page.complaints == []
    assert (await sign_in(town, ann.username, NEW_PASSWORD)).status_code == 200
    assert (await sign_in(town, ann.username, PASSWORD)).status_code == 401


async def press(page: Page, key: str) -> None:
    text = {"text": "\r"} if key == "Enter" else {}
    code = {"Enter": 13, "Tab": 9}[key]
    for kind in ("keyDown", "keyUp"):
        await page.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


async def sign_in(town: Town, username: str, password: str) -> Any:
    return await town.http.post(f"{town.urls[0]}/auth/login", json={"username": username, "password": password})


@pytest.fixture
async def connections(fleet: Fleet) -> AsyncIterator[dict[str, "asyncpg.Connection[Any]"]]:
    """A connection to the database of every service."""
    opened = {name: await asyncpg.connect(url_of(fleet, name)) for name in ("auth", *OTHERS)}
    yield opened
    for connection in opened.values():
        await connection.close()


def url_of(fleet: Fleet, service: str) -> str:
    """As the superuser, who sees the rows of all tenants."""
    return f"{fleet.backing.database_owner_url}/flotilla_{service}"


async def rows_with(connection: "asyncpg.Connection[Any]", secrets: list[str]) -> list[str]:
    """The tables in which a row, as text, holds one of the secrets."""
    tables = await connection.fetch(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
        "AND table_schema NOT IN ('pg_catalog', 'information_schema')"
    )
    found = []
    for schema, table in tables:
        rows = await connection.fetch(f'SELECT t::text AS text FROM "{schema}"."{table}" t')  # noqa: S608 - the catalogue's names
        found += [table for row in rows if any(secret in row["text"] for secret in secrets)]
    return found


async def test_the_secret_of_a_link_is_in_the_mail_alone(
    town: Town, fleet: Fleet, connections: dict[str, "asyncpg.Connection[Any]"]
) -> None:
    ann = await town.founder()
    link = await ask_for_a_link(town, f"{ann.username}@example.com")
    [token] = parse_qs(urlsplit(link).query)["token"]
    in_bytes = b64decode(token + "=" * (-len(token) % 4), altchars=b"-_").hex()
    opened = await town.http.get(town.urls[0] + urlsplit(link).path, params={"token": token})
    assert opened.status_code == 200
    secrets = [token, in_bytes]
    found = {name: await rows_with(connection, secrets) for name, connection in connections.items()}
    assert found == {name: [] for name in connections}
    for url in (fleet.backing.redis_url, fleet.backing.bus_url):
        async with Redis.from_url(url) as cache:
            async for key in cache.scan_iter():
                assert token.encode() not in key
                assert token.encode() not in (await cache.dump(key) or b"")
    logs = list(fleet.plan.data.rglob("*.log"))
    assert logs
    for log in logs:
        assert token not in log.read_text(encoding="utf-8", errors="replace"), log
    body = {"token": token, "password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD}
    confirmed = await town.http.post(f"{town.urls[1]}/auth/password/reset/confirm", json=body)
    assert confirmed.status_code == 204
    assert json.dumps(token) not in confirmed.text
    # the session that was open has ended at both gateways
    for gateway in (0, 1):
        await eventually(lambda at=gateway: _is_ended(ann.at(at)), within_s=2.5)


async def _is_ended(person: Any) -> bool:
    return (await person.get("/auth/me", None)).status_code == 401
