"""npm oidc-provider as the upstream issuer: its pages, its tokens, its userinfo endpoint."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx2
import pytest

from shared.testing.npm_packages import NpmMissing, npm_packages

from .door import Door
from .issuer import Browser, browsing, registered

SCRIPT = Path(__file__).with_name("oidc_provider.mjs")
ACCOUNTS: dict[str, dict[str, Any]] = {
    "cyd": {"email": "cyd@corp.example", "email_verified": True, "preferred_username": "cyd"},
    "ann-there": {"email": "ann@example.com", "email_verified": False, "preferred_username": "ann"},
}


@dataclass
class Upstream:
    """A running oidc-provider, and a browser's cookies there."""

    url: str
    http: httpx2.AsyncClient

    async def sign_in(self, authorization_url: str, login: str) -> dict[str, str]:
        """Sign in and consent on its pages; the parameters that the browser comes back with."""
        url, form = authorization_url, None
        for _ in range(12):
            reply = await (self.http.get(url) if form is None else self.http.post(url, data=form))
            if reply.status_code == 200:
                url, form = _filled_in(reply, login)
                continue
            assert reply.status_code in (302, 303), reply.text
            url, form = urljoin(str(reply.url), reply.headers["location"]), None
            if not url.startswith(self.url):
                return dict(parse_qsl(urlsplit(url).query))
        raise AssertionError("the issuer's pages do not end")


def _filled_in(page: httpx2.Response, login: str) -> tuple[str, dict[str, str]]:
    """Where the page's form goes, and its fields: the sign-in's or the consent's."""
    action = re.search(r'action="([^"]+)"', page.text)
    prompt = re.search(r'name="prompt" value="(\w+)"', page.text)
    assert action is not None, page.text
    assert prompt is not None, page.text
    fields = {"prompt": prompt[1], "login": login, "password": "any"}
    return urljoin(str(page.url), unescape(action[1])), fields


@pytest.fixture(scope="module")
def packages() -> Path:
    """The npm packages; without npm these tests are skipped aloud."""
    try:
        return npm_packages()
    except NpmMissing as missing:
        sys.stderr.write(f"\nSKIPPED: oidc-provider as an upstream issuer: {missing}\n")
        pytest.skip(str(missing))


@asynccontextmanager
async def running(packages: Path, algorithm: str = "RS256") -> AsyncIterator[Upstream]:
    environment = {**os.environ, "MODULES": str(packages), "ACCOUNTS": json.dumps(ACCOUNTS), "ALGORITHM": algorithm}
    process = await asyncio.create_subprocess_exec(
        "node", str(SCRIPT), env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        async with httpx2.AsyncClient(timeout=10) as http:
            yield Upstream(f"http://127.0.0.1:{port}", http)
    finally:
        process.kill()
        await process.communicate()


@pytest.fixture
async def upstream(packages: Path) -> AsyncIterator[Upstream]:
    async with running(packages) as found:
        yield found


async def usernames(door: Door) -> list[str]:
    rows = await door.rows(
        "SELECT username FROM sessions JOIN accounts ON accounts.id = sessions.account_id"
        " WHERE 'fed' = ANY (amr) ORDER BY sessions.created_at"
    )
    return [row["username"] for row in rows]


async def test_sign_up_and_sign_in(door: Door, root: dict[str, str], upstream: Upstream, browser: Browser) -> None:
    provider = await registered(door, root, upstream.url, fleet_wide=True)
    for _ in range(2):
        answer = await upstream.sign_in(await browser.start(provider), "cyd")
        assert answer["iss"] == upstream.url
        reply = await browser.come_back(provider, answer)
        assert (reply.status_code, reply.headers.get("location")) == (303, "/auth/pages/signed-in"), reply.text
    assert await usernames(door) == ["cyd", "cyd"]
    assert (await door.rows("SELECT email FROM accounts WHERE username = 'cyd'"))[0]["email"] == "cyd@corp.example"


async def test_id_tokens_by_es256(door: Door, root: dict[str, str], packages: Path, browser: Browser) -> None:
    async with running(packages, "ES256") as upstream:
        provider = await registered(door, root, upstream.url, fleet_wide=True)
        answer = await upstream.sign_in(await browser.start(provider), "cyd")
        assert (await browser.come_back(provider, answer)).status_code == 303


async def test_an_equal_but_unverified_email_is_refused_until_its_person_links(
    door: Door, root: dict[str, str], upstream: Upstream, browser: Browser
) -> None:
    provider = await registered(door, root, upstream.url, fleet_wide=True)
    ann = door.bearer(await door.signed_up("ann", slug="annsplace"))
    answer = await upstream.sign_in(await browser.start(provider), "ann-there")
    refused = await browser.come_back(provider, answer)
    assert (refused.status_code, "You have an account already" in refused.text) == (409, True)
    assert await usernames(door) == []

    begun = await browser.http.post(f"/auth/identities/{provider['id']}/link", headers=ann)
    answer = await upstream.sign_in(begun.json()["authorization_url"], "ann-there")
    linked = await browser.come_back(provider, answer)
    assert (linked.status_code, linked.headers["location"]) == (303, "/auth/upstream/linked")
    answer = await upstream.sign_in(await browser.start(provider), "ann-there")
    assert (await browser.come_back(provider, answer)).status_code == 303
    assert await usernames(door) == ["ann"]


async def test_a_second_issuer_answers_for_the_first_in_vain(
    door: Door, root: dict[str, str], upstream: Upstream, packages: Path, browser: Browser
) -> None:
    async with running(packages) as second:
        provider = await registered(door, root, upstream.url, fleet_wide=True)
        await registered(door, root, second.url, fleet_wide=True)
        url = (await browser.start(provider)).replace(upstream.url, second.url)
        answer = await second.sign_in(url, "cyd")
        assert answer["iss"] == second.url
        assert (await browser.come_back(provider, answer)).status_code == 502
        url = (await browser.start(provider)).replace(upstream.url, second.url)
        answer = await second.sign_in(url, "cyd") | {"iss": upstream.url}  # its code is not the first issuer's
        assert (await browser.come_back(provider, answer)).status_code == 502
    assert await door.rows("SELECT 1 FROM identities") == []


async def test_what_was_changed_or_used_on_the_way_is_refused(
    door: Door, root: dict[str, str], upstream: Upstream, browser: Browser, base_url: str
) -> None:
    provider = await registered(door, root, upstream.url, fleet_wide=True)
    parts = urlsplit(await browser.start(provider))
    changed = urlencode(dict(parse_qsl(parts.query)) | {"nonce": "of another sign-in"})
    answer = await upstream.sign_in(parts._replace(query=changed).geturl(), "cyd")
    assert (await browser.come_back(provider, answer)).status_code == 502

    answer = await upstream.sign_in(await browser.start(provider), "cyd")
    async with browsing(base_url) as other:
        await other.start(provider)
        assert (await other.come_back(provider, answer)).status_code == 400
    assert (await browser.come_back(provider, answer)).status_code == 303
    assert (await browser.come_back(provider, answer)).status_code == 400
    assert await usernames(door) == ["cyd"]
