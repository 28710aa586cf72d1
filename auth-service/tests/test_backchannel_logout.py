"""OAuth clients are informed that a sign-in has ended (OpenID Connect Back-Channel Logout 1.0)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest

from auth_service.backchannel_logout import sender
from auth_service.maintenance import prunes
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.resources import Resources
from shared.testing import eventually

from .door import Door
from .oauth import ISSUER, Browser, OAuthClient, code_for, fields_of, registered

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass
class Receiver:
    """A client's logout endpoint on a socket; it answers with `statuses` in turn, then with 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    forms: list[dict[str, list[str]]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        [length] = [line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:")]
        assert head.startswith("post /logout ")
        assert "content-type: application/x-www-form-urlencoded" in head
        self.forms.append(parse_qs((await reader.readexactly(int(length))).decode()))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    @property
    def tokens(self) -> list[str]:
        return [form["logout_token"][0] for form in self.forms]


@pytest.fixture
def settings_values(settings_values: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**settings_values, **getattr(request, "param", {})}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/logout"
    yield found
    server.close()


@dataclass
class Silent:
    """An endpoint that takes requests and answers none."""

    url: str = ""
    open: int = 0
    most: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        await reader.read()  # until the sender gives up
        self.open -= 1
        writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    found = Silent()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/logout"
    yield found
    server.close()


@pytest.fixture
async def admin(door: Door) -> dict[str, Any]:
    """Ann, the admin of a tenant."""
    return await door.signed_up("ann", slug="acme")


@pytest.fixture
async def planner(door: Door, admin: dict[str, Any], receiver: Receiver) -> OAuthClient:
    return await registered(door, admin, backchannel_logout_uri=receiver.url)


@pytest.fixture
async def browser(door: Door, admin: dict[str, Any]) -> Browser:
    """Ann's browser, signed in."""
    found = Browser(door)
    assert (await found.sign_in("ann")).status_code == 303
    return found


async def signed_in(browser: Browser, client: OAuthClient, **changes: Any) -> dict[str, Any]:
    """The claims of the ID token of a sign-in to the client."""
    tokens = (await client.redeem(await code_for(browser, client, **changes))).json()
    claims: dict[str, Any] = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    return claims


async def sign_out(browser: Browser) -> None:
    page = await browser.get("/oauth2/logout")
    assert (await browser.send("/oauth2/logout/confirm", fields_of(page.text))).status_code == 303


async def delivered(door: Door, receiver: Receiver, number: int = 1) -> list[str]:
    """The tokens that arrived, once nothing is queued any more."""

    async def all_done() -> bool:
        return not await door.rows("SELECT 1 FROM logout_notices")

    await eventually(all_done)
    assert len(receiver.tokens) == number
    return receiver.tokens


async def claims_of(door: Door, token: str, client: OAuthClient) -> dict[str, Any]:
    keys = jwt.PyJWKSet.from_dict((await door.client.get("/oauth2/jwks.json")).json())
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "logout+jwt"
    claims: dict[str, Any] = jwt.decode(token, keys[header["kid"]].key, ["RS256"], audience=client.id, issuer=ISSUER)
    return claims


async def test_a_client_is_informed_of_a_logout(
    door: Door, browser: Browser, planner: OAuthClient, receiver: Receiver
) -> None:
    identity = await signed_in(browser, planner)
    await signed_in(browser, planner)  # a second session of the client by the same sign-in: one notice is enough
    await sign_out(browser)
    [token] = await delivered(door, receiver)
    claims = await claims_of(door, token, planner)
    assert (claims["sub"], claims["sid"]) == (identity["sub"], identity["sid"])
    assert (claims["events"], claims["exp"] - claims["iat"]) == ({EVENT: {}}, 120)
    assert "jti" in claims
    assert "nonce" not in claims, "no logout token passes for an ID token"


async def test_a_client_with_offline_access_is_informed_and_keeps_its_tokens(
    door: Door, browser: Browser, planner: OAuthClient, receiver: Receiver
) -> None:
    code = await code_for(browser, planner, scope="openid offline_access")
    tokens = (await planner.redeem(code)).json()
    await sign_out(browser)
    await delivered(door, receiver)
    assert (await planner.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.parametrize("ending", ["logout-all", "others", "consent", "revoked"])
async def test_whatever_ends_a_session_informs_its_client(
    door: Door, admin: dict[str, Any], browser: Browser, planner: OAuthClient, receiver: Receiver, ending: str
) -> None:
    tokens = (await planner.redeem(await code_for(browser, planner))).json()
    headers = door.bearer(admin)
    if ending == "logout-all":
        await door.client.post("/auth/logout-all", headers=headers)
    elif ending == "others":
        await door.client.delete("/auth/sessions", headers=headers)
    elif ending == "consent":
        [consent] = (await door.client.get("/oauth2/consents", headers=headers)).json()["items"]
        await door.client.delete(f"/oauth2/consents/{consent['id']}", headers=headers)
    else:
        await planner.post("revoke", {"token": tokens["refresh_token"]})
    [token] = await delivered(door, receiver)
    assert (await claims_of(door, token, planner))["aud"] == planner.id


async def test_a_client_that_is_down_is_informed_later(
    door: Door, browser: Browser, planner: OAuthClient, receiver: Receiver
) -> None:
    receiver.statuses = [503]
    await signed_in(browser, planner)
    await sign_out(browser)
    first, second = [await claims_of(door, token, planner) for token in await delivered(door, receiver, 2)]
    assert first["jti"] == second["jti"]


async def test_a_notice_that_the_client_refuses_is_not_repeated(
    door: Door, browser: Browser, planner: OAuthClient, receiver: Receiver
) -> None:
    receiver.statuses = [400]
    await signed_in(browser, planner)
    await sign_out(browser)
    await delivered(door, receiver)


async def test_a_receiver_that_does_not_answer_holds_up_no_other_one(
    door: Door, admin: dict[str, Any], browser: Browser, planner: OAuthClient, receiver: Receiver, silent: Silent
) -> None:
    slow = await registered(door, admin, client_name="Slow", backchannel_logout_uri=silent.url)
    await signed_in(browser, slow)
    await door.run(
        "INSERT INTO logout_notices (id, client_id, account_id, sid, url, due_at)"
        " SELECT gen_random_uuid(), :client, id, gen_random_uuid(), :url, now() - interval '1 minute'"
        " FROM accounts, generate_series(1, 30) WHERE username = 'ann'",
        client=slow.id,
        url=silent.url,
    )
    await sign_out(browser)
    await eventually(lambda: silent.open > 0)
    other = Browser(door)
    await other.sign_in("ann")
    await signed_in(other, planner)
    await sign_out(other)
    await eventually(lambda: len(receiver.tokens) == 1, within_s=2)
    assert 0 < silent.most <= sender.MOST_PER_CLIENT


@pytest.mark.parametrize("settings_values", [{"outbound": {"allow_loopback": False}}], indirect=True)
async def test_no_private_address_is_requested(
    door: Door, browser: Browser, planner: OAuthClient, receiver: Receiver
) -> None:
    await signed_in(browser, planner)
    await sign_out(browser)
    await delivered(door, receiver, 0)


async def time_passes(door: Door, resources: Resources, sessions: str, interval: str) -> None:
    """Since the last use of these sessions; maintenance runs twice."""
    await door.run(
        f"UPDATE sessions SET last_seen_at = now() - CAST(:by AS text)::interval WHERE {sessions}",  # noqa: S608
        by=interval,
    )
    settings = resources.get(AuthSettings)
    for prune in [*prunes(settings), *prunes(settings)]:
        async with resources.get(Database).transaction() as db:
            await prune(db)


async def test_a_client_is_informed_once_that_its_session_has_expired(
    door: Door, browser: Browser, planner: OAuthClient, receiver: Receiver, resources: Resources
) -> None:
    identity = await signed_in(browser, planner)
    await time_passes(door, resources, "client_id <> 'flotilla'", "13 hours")
    [token] = await delivered(door, receiver)
    assert (await claims_of(door, token, planner))["sid"] == identity["sid"]
    assert (await browser.get("/oauth2/authorize", planner.query())).status_code == 303, "the browser is signed in"
    await time_passes(door, resources, "client_id <> 'flotilla'", "14 hours")
    await delivered(door, receiver)
    await door.run("UPDATE sessions SET ended_at = ended_at - interval '31 days'")
    await time_passes(door, resources, "false", "0 hours")
    assert await door.rows("SELECT 1 FROM sessions WHERE client_id = :id", id=planner.id) == []


async def test_while_another_session_by_the_sign_in_is_open_an_expired_one_ends_silently(
    door: Door, browser: Browser, planner: OAuthClient, receiver: Receiver, resources: Resources
) -> None:
    first = "id = (SELECT min(id::text)::uuid FROM sessions WHERE client_id <> 'flotilla')"
    for _ in range(2):
        await signed_in(browser, planner)
    await time_passes(door, resources, first, "13 hours")
    await delivered(door, receiver, 0)
    await time_passes(door, resources, "client_id <> 'flotilla'", "13 hours")
    await delivered(door, receiver)


async def test_discovery_names_it(door: Door) -> None:
    found = (await door.client.get("/.well-known/openid-configuration")).json()
    assert (found["backchannel_logout_supported"], found["backchannel_logout_session_supported"]) == (True, True)
