"""The pages of a sign-in to a client, in a browser: by keyboard alone, on a phone and on a desktop, for everyone."""

import asyncio
import json
import sys
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pyotp
import pytest
from browser import Page, press
from people import PASSWORD, Person, Town

from shared.testing import eventually
from shared.testing.npm_packages import NpmMissing, npm_packages

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636, appendix B
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
SIZES = {"phone": (390, 844, True), "desktop": (1280, 800, False)}


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core; without npm its tests are skipped aloud."""
    try:
        return (npm_packages() / "node_modules/axe-core/axe.min.js").read_text()
    except NpmMissing as missing:
        sys.stderr.write(f"\nSKIPPED: accessibility of the pages: {missing}\n")
        pytest.skip(str(missing))


@pytest.fixture
async def callback() -> AsyncIterator[tuple[str, "asyncio.Queue[dict[str, str]]"]]:
    """A client's redirect URI, and the answers that browsers bring to it."""
    answers: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readline()).decode().split(" ")[1]
        if target.startswith("/callback"):
            answers.put_nowait({name: values[0] for name, values in parse_qs(urlsplit(target).query).items()})
        body = b"<!doctype html><title>Planner</title>"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/callback", answers


async def request_url(town: Town, ann: Person, redirect_uri: str) -> str:
    """An authorization request of a client that Ann's tenant registered."""
    metadata = (await town.http.get(f"{town.urls[0]}/.well-known/oauth-authorization-server")).json()
    body = {
        "client_name": "Planner",
        "application_type": "native",
        "redirect_uris": [redirect_uri],
        "scope": "openid email jobs:read",
    }
    client = (await ann.call("POST", "/oauth2/clients", 201, json=body)).json()
    query = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": redirect_uri,
        "scope": "openid email jobs:read",
        "state": "s-1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return f"{metadata['authorization_endpoint']}?{urlencode(query)}"


async def serious(page: Page, axe: str) -> list[str]:
    """What axe-core finds on the page that shuts people out."""
    await page.run(f"{axe}; undefined")
    found = await page.run("axe.run().then((result) => JSON.stringify(result.violations))")
    violations: list[dict[str, Any]] = json.loads(found)
    return [f"{one['id']}: {one['help']}" for one in violations if one["impact"] in ("serious", "critical")]


async def resize(page: Page, size: str) -> None:
    width, height, mobile = SIZES[size]
    await page.send("Emulation.setFocusEmulationEnabled", enabled=True)  # pictures show where the focus is
    await page.send(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
    )


async def accessible(page: Page, axe: str) -> None:
    """The page shuts no one out and does not scroll sideways."""
    assert await serious(page, axe) == []
    assert await page.run("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"


async def reach(page: Page, selector: str) -> None:
    """Press Tab until the focus is on the element."""
    for _ in range(60):
        await press(page, "Tab")
        if await page.run(f"document.activeElement?.matches({json.dumps(selector)})"):
            return
    raise AssertionError(f"the keyboard does not reach {selector}")


async def look(page: Page, axe: str, folder: Path, name: str) -> None:
    """The page shuts no one out, in a light and in a dark browser; pictures of both."""
    for scheme in ("light", "dark"):
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        await page.send("Emulation.setEmulatedMedia", features=media)
        await accessible(page, axe)
        await picture(page, folder / f"{name}-{scheme}.png")


async def picture(page: Page, path: Path) -> None:
    shot = await page.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
    await asyncio.to_thread(path.write_bytes, b64decode(shot["data"]))


@pytest.mark.parametrize("size", SIZES)
async def test_a_person_signs_in_to_a_client_by_keyboard(
    town: Town,
    page: Page,
    axe: str,
    callback: "tuple[str, asyncio.Queue[dict[str, str]]]",
    tmp_path: Path,
    size: str,
) -> None:
    redirect_uri, answers = callback
    ann = await town.founder()
    await resize(page, size)
    await page.send("Page.navigate", url=await request_url(town, ann, redirect_uri))
    await page.until("document.activeElement?.id === 'username'")
    await look(page, axe, tmp_path, f"sign-in-{size}")
    await page.send("Input.insertText", text=ann.username)
    await press(page, "Tab")
    await page.send("Input.insertText", text="Wrong-word-1")
    await press(page, "Enter")
    await page.until("document.querySelector('[role=alert]') !== null")
    await look(page, axe, tmp_path, f"sign-in-refused-{size}")
    assert await page.run("document.getElementById('username').value") == ann.username
    await page.run("document.getElementById('password').focus()")
    await page.send("Input.insertText", text=PASSWORD)
    await press(page, "Enter")
    await page.until("document.querySelector('form[action=\"/oauth2/consent\"]') !== null")
    await look(page, axe, tmp_path, f"consent-{size}")
    await press(page, "Tab")
    assert await page.run("document.activeElement?.value") == "allow"
    await press(page, "Enter")
    answer = await asyncio.wait_for(answers.get(), 20)
    assert (answer["state"], "code" in answer) == ("s-1", True)
    assert page.complaints == ["Failed to load resource: the server responded with a status of 401 (Unauthorized)"]


@pytest.mark.parametrize("size", SIZES)
async def test_a_person_confirms_by_a_code_or_a_passkey(
    town: Town, page: Page, axe: str, tmp_path: Path, size: str
) -> None:
    ann = await town.founder()
    app = (await ann.post("/auth/mfa/totp", 201, json={"name": "Phone"})).json()
    totp, now = pyotp.TOTP(app["secret"]), int(time.time())
    await ann.post(f"/auth/mfa/totp/{app['id']}/confirm", 200, json={"code": totp.at(now)})
    refreshed = await ann.post("/auth/refresh", 200, json={"refresh_token": ann.tokens["refresh_token"]})
    ann.tokens = refreshed.json()
    await resize(page, size)
    pages = await pages_url(town)
    await page.send("Page.navigate", url=f"{pages}/sign-in")
    await page.until("document.activeElement?.id === 'username'")
    await add_passkey(page, ann)
    await page.send("Input.insertText", text=ann.username)
    await press(page, "Tab")
    await page.send("Input.insertText", text=PASSWORD)
    await press(page, "Enter")
    await page.until("document.activeElement?.id === 'code'")
    assert await page.until("!document.getElementById('passkey').hidden")
    await look(page, axe, tmp_path, f"second-factor-{size}")
    await page.send("Input.insertText", text=totp.at(now, counter_offset=1))
    await press(page, "Enter")
    await page.until("location.pathname === '/auth/pages/signed-in'")
    await page.send("Page.navigate", url=f"{pages}/passkey")
    await page.until("document.getElementById('passkey')?.hidden === false")
    await look(page, axe, tmp_path, f"sign-in-by-passkey-{size}")
    await press(page, "Tab")
    await press(page, "Enter")
    await page.until("location.pathname === '/auth/pages/signed-in'")
    assert page.complaints == []


@pytest.mark.parametrize("size", SIZES)
async def test_a_person_allows_a_device_and_signs_out_by_keyboard(
    town: Town, page: Page, axe: str, tmp_path: Path, size: str
) -> None:
    ann = await town.founder()
    body = {
        "client_name": "Television",
        "application_type": "native",
        "token_endpoint_auth_method": "none",
        "grant_types": [DEVICE],
        "scope": "openid email jobs:read",
    }
    client_id = (await ann.call("POST", "/oauth2/clients", 201, json=body)).json()["client_id"]
    asked = await town.http.post(f"{town.urls[0]}/oauth2/device_authorization", data={"client_id": client_id})
    device = asked.json()
    await resize(page, size)
    await page.send("Page.navigate", url=device["verification_uri"])
    await sign_in(page, ann)
    await page.until("document.activeElement?.id === 'user_code'")
    await look(page, axe, tmp_path, f"device-{size}")
    await page.send("Input.insertText", text=device["user_code"].lower())
    await press(page, "Enter")
    await page.until("document.querySelector('button[value=allow]') !== null")
    await look(page, axe, tmp_path, f"device-consent-{size}")
    await press(page, "Tab")
    assert await page.run("document.activeElement?.value") == "allow"
    await press(page, "Enter")
    await page.until("document.querySelector('form') === null")
    await accessible(page, axe)
    form = {"grant_type": DEVICE, "device_code": device["device_code"], "client_id": client_id}
    tokens = (await town.http.post(f"{town.urls[1]}/oauth2/token", data=form)).json()
    assert tokens["scope"] == "email jobs:read openid"

    issuer = (await pages_url(town)).removesuffix("/auth/pages")
    await page.send("Page.navigate", url=f"{issuer}/oauth2/logout")
    await page.until("document.querySelector('form') !== null")
    await look(page, axe, tmp_path, f"sign-out-{size}")
    await press(page, "Tab")
    await press(page, "Enter")
    await page.until("location.pathname === '/auth/pages/signed-out'")
    await accessible(page, axe)
    assert page.complaints == []


@pytest.mark.parametrize("size", SIZES)
async def test_a_person_manages_their_account_by_keyboard(
    town: Town,
    page: Page,
    axe: str,
    callback: "tuple[str, asyncio.Queue[dict[str, str]]]",
    tmp_path: Path,
    size: str,
) -> None:
    redirect_uri, answers = callback
    ann = await town.founder()
    await resize(page, size)
    account = f"{(await pages_url(town)).removesuffix('/auth/pages')}/oauth2/account"

    async def looked(name: str) -> None:
        await look(page, axe, tmp_path, f"{name}-{size}")

    async def done(what: str) -> None:
        await page.until(f"location.search === '?done={what}' && document.querySelector('.done') !== null")

    await page.send("Page.navigate", url=account)
    await sign_in(page, ann)
    await page.until("location.pathname === '/oauth2/account' && document.querySelector('h2') !== null")
    await looked("account-new")

    await reach(page, "a[href$='/factors/app']")
    await press(page, "Enter")
    await page.until("document.activeElement?.id === 'name'")
    await looked("app")
    await press(page, "Enter")
    await page.until("document.activeElement?.id === 'code'")
    await looked("app-code")
    totp = pyotp.TOTP(await page.run("document.querySelector('.secret').textContent"))
    await page.send("Input.insertText", text=totp.now())
    await press(page, "Enter")
    await page.until("document.querySelectorAll('.codes code').length === 10")
    await looked("recovery-codes")
    await reach(page, "a[href='/oauth2/account']")
    await press(page, "Enter")

    await add_authenticator(page)
    await page.until("document.querySelector('.entries a[href$=remove]') !== null")
    await reach(page, "a[href$='/factors/passkey']")
    await press(page, "Enter")
    await page.until("document.activeElement?.id === 'name'")
    await looked("passkey")
    await press(page, "Enter")
    await done("factor_added")

    await page.send("Page.navigate", url=f"{account}/confirm?then=/oauth2/account/password")
    await page.until("document.activeElement?.id === 'code' && !document.getElementById('passkey').hidden")
    await looked("confirm")
    await reach(page, "#passkey button")
    await press(page, "Enter")
    await page.until("document.activeElement?.id === 'current_password'")
    await looked("password")
    await page.send("Page.navigate", url=f"{account}/email")
    await page.until("document.activeElement?.id === 'email'")
    await looked("email")

    await page.send("Page.navigate", url=await request_url(town, ann, redirect_uri))
    await page.until("document.querySelector('button[value=allow]') !== null")
    await reach(page, "button[value=allow]")
    await press(page, "Enter")
    await asyncio.wait_for(answers.get(), 20)
    await page.send("Page.navigate", url=account)
    await page.until("document.querySelector('form[action$=withdraw]') !== null")
    await looked("account")
    await reach(page, "form[action$='/withdraw'] button")
    await press(page, "Enter")
    await done("consent_withdrawn")
    await reach(page, "form[action$='/sessions/end-others'] button")
    await press(page, "Enter")
    await done("sessions_ended")
    ended = await ann.post("/auth/refresh", json={"refresh_token": ann.tokens["refresh_token"]})
    assert ended.status_code == 401
    await reach(page, "a[href$='/remove']")
    await press(page, "Enter")
    await page.until("document.querySelector('form[action$=remove]') !== null")
    await looked("remove")
    await reach(page, "form[action$='/remove'] button")
    await press(page, "Enter")
    await done("factor_removed")
    await looked("account-done")
    assert page.complaints == []


@pytest.mark.parametrize("size", SIZES)
async def test_a_person_creates_a_key_and_deactivates_their_account_by_keyboard(
    town: Town, page: Page, axe: str, tmp_path: Path, size: str
) -> None:
    ann = await town.founder()
    await resize(page, size)
    account = f"{(await pages_url(town)).removesuffix('/auth/pages')}/oauth2/account"

    async def looked(name: str) -> None:
        await look(page, axe, tmp_path, f"{name}-{size}")

    await page.send("Page.navigate", url=account)
    await sign_in(page, ann)
    await page.until("location.pathname === '/oauth2/account' && document.querySelector('h2') !== null")
    await reach(page, "a[href$='/api-keys/new']")
    await press(page, "Enter")
    await page.until("document.activeElement?.id === 'name'")
    await looked("key")
    await page.send("Input.insertText", text="Nightly import of " + "W" * 70)
    for scope in ("files:read", "jobs:write"):
        await reach(page, f"[name='scope:{scope}']")
        await press(page, "Space")
    await press(page, "Enter")
    await page.until("document.querySelector('.secret')?.textContent.startsWith('flk_')")
    await looked("key-made")
    key = await page.run("document.querySelector('.secret').textContent")
    assert key not in await page.run("location.href")
    jobs = await town.http.get(f"{town.urls[0]}/api/v1/jobs", headers={"X-API-Key": key})
    assert jobs.status_code == 403  # it may read files, and start jobs
    files = await town.http.get(f"{town.urls[0]}/api/v1/files", headers={"X-API-Key": key})
    assert files.status_code == 200
    await reach(page, "a[href='/oauth2/account']")
    await press(page, "Enter")
    await page.until("document.querySelector('.entries a[href$=revoke]') !== null")
    await looked("account-keys")
    await reach(page, "a[href$='/revoke']")
    await press(page, "Enter")
    await page.until("document.querySelector('form[action$=revoke]') !== null")
    await looked("revoke")
    await reach(page, "form[action$='/revoke'] button")
    await press(page, "Enter")
    await page.until("location.search === '?done=key_revoked' && document.querySelector('.done') !== null")

    await reach(page, "a[href$='/deactivate']")
    await press(page, "Enter")
    await page.until("document.querySelector('button.danger') !== null")
    await looked("deactivate")
    await reach(page, "button.danger")
    await press(page, "Enter")
    await page.until("location.pathname === '/auth/pages/deactivated'")
    await looked("deactivated")
    await page.send("Page.navigate", url=account)
    await sign_in(page, ann)
    await page.until("document.querySelector('a[href$=reactivate]') !== null")
    await looked("sign-in-deactivated")
    assert page.complaints == ["Failed to load resource: the server responded with a status of 403 (Forbidden)"]


@pytest.mark.parametrize("size", SIZES)
async def test_the_pages_of_a_tenant_show_its_name_and_color_and_add_a_factor(
    town: Town,
    page: Page,
    axe: str,
    callback: "tuple[str, asyncio.Queue[dict[str, str]]]",
    tmp_path: Path,
    size: str,
) -> None:
    ann = await town.founder()
    name = "Acme Widgets and Warehouses International of Northern Europe"
    branding = {"name": name, "color": "#7a1f5c"}
    request = await request_url(town, ann, callback[0])
    await ann.call("PATCH", "/api/v1/admin/settings", 200, json={"branding": branding})
    sign_in_page = f"{await pages_url(town)}/sign-in"

    async def branded() -> bool:
        continued = {"continue": f"/oauth2/authorize?{urlsplit(request).query}"}
        return name in (await town.http.get(sign_in_page, params=continued)).text

    await eventually(branded, every_s=0.1, saying="auth-service has the tenant's name")
    await resize(page, size)

    async def shown(page_name: str) -> None:
        await look(page, axe, tmp_path, f"branded-{page_name}-{size}")
        assert (await page.run("document.querySelector('.product').textContent")).startswith(f"{name} (")
        button = "getComputedStyle(document.querySelector('button:not(.small, .secondary)')).backgroundColor"
        if await page.run("document.querySelector('button:not(.small, .secondary)') !== null"):
            assert await page.run(button) == "rgb(122, 31, 92)"

    await page.send("Page.navigate", url=request)
    await page.until("document.activeElement?.id === 'username'")
    await shown("sign-in")
    await sign_in(page, ann)
    await page.until("document.querySelector('button[value=allow]') !== null")
    await shown("consent")
    account = f"{(await pages_url(town)).removesuffix('/auth/pages')}/oauth2/account"
    await page.send("Page.navigate", url=account)
    await page.until("location.pathname === '/oauth2/account' && document.querySelector('h2') !== null")
    await shown("account")
    await page.send("Page.navigate", url=f"{account}/password")
    await page.until("document.activeElement?.id === 'current_password'")
    await shown("password")
    await ann.call("PATCH", "/api/v1/admin/settings", 200, json={"mfa_required": True})

    async def is_required() -> bool:
        body = {"username": ann.username, "password": PASSWORD}
        return (await town.http.post(f"{town.urls[0]}/auth/login", json=body)).status_code == 401

    await eventually(is_required, every_s=0.1, saying="auth-service requires the second factor")
    await page.send("Page.navigate", url=f"{request}&prompt=login")
    await sign_in(page, ann)
    await page.until("document.querySelector('.qr svg') !== null && document.activeElement?.id === 'code'")
    await shown("new-factor")
    totp = pyotp.TOTP(await page.run("document.querySelector('.secret').textContent"))
    await page.send("Input.insertText", text=totp.now())
    await press(page, "Enter")
    await page.until("document.querySelector('button[value=allow]') !== null")
    assert page.complaints == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "path",
    [
        "sign-in",
        "signed-in",
        "password/reset",
        "password/reset/confirm?token=x",
        "password-changed",
        "verify-email?token=x",
        "verify-email/request",
        "magic-link",
        "magic-link/sent",
        "reactivate",
        "reactivate/confirm?token=x",
    ],
)
async def test_the_pages_of_mailed_links_shut_no_one_out(
    town: Town, page: Page, axe: str, tmp_path: Path, size: str, path: str
) -> None:
    await resize(page, size)
    await page.send("Page.navigate", url=f"{await pages_url(town)}/{path}")
    await page.until("document.querySelector('main a, form button') !== null")
    await look(page, axe, tmp_path, f"mailed-link-{size}")


async def sign_in(page: Page, person: Person) -> None:
    """Fill in the sign-in page."""
    await page.until("document.activeElement?.id === 'username'")
    await page.send("Input.insertText", text=person.username)
    await press(page, "Tab")
    await page.send("Input.insertText", text=PASSWORD)
    await press(page, "Enter")


async def pages_url(town: Town) -> str:
    metadata = (await town.http.get(f"{town.urls[0]}/.well-known/oauth-authorization-server")).json()
    return f"{metadata['issuer']}/auth/pages"


async def add_passkey(page: Page, person: Person) -> None:
    """Give the browser an authenticator, and the person a passkey on it."""
    await add_authenticator(page)
    options = json.dumps((await person.post("/auth/mfa/passkeys/options", 200)).json()["options"])
    created = await page.run(
        f"navigator.credentials.create({{publicKey: PublicKeyCredential.parseCreationOptionsFromJSON({options})}})"
        ".then((credential) => JSON.stringify(credential.toJSON()))"
    )
    await person.post("/auth/mfa/passkeys", 201, json={"name": "Laptop", "credential": json.loads(created)})


async def add_authenticator(page: Page) -> None:
    """Give the browser an authenticator that verifies its person."""
    traits = {"hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}
    device = {"protocol": "ctap2", "transport": "internal", "automaticPresenceSimulation": True, **traits}
    await page.send("WebAuthn.enable")
    await page.send("WebAuthn.addVirtualAuthenticator", options=device)
