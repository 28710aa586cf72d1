"""Independent OAuth clients against the running fleet, through the gateway and the pages that people see."""

import asyncio
import json
import re
import secrets
import sys
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from people import PASSWORD, Person, Town
from requests_oauthlib import OAuth2Session

from shared.testing import eventually
from shared.testing.npm_packages import NpmMissing, npm_packages

CLIENTS = Path(__file__).parent / "clients"
CALLBACK = "http://127.0.0.1:9/callback"  # nothing listens: the programs read the answer from the redirect


@dataclass(frozen=True)
class Registered:
    """The clients of one tenant, and the person who signs in to them."""

    ann: Person
    issuer: str
    confidential: dict[str, Any]
    public: dict[str, Any]
    machine: dict[str, Any]
    device: dict[str, Any]


@pytest.fixture
async def registered(town: Town) -> Registered:
    ann = await town.founder()
    metadata = (await town.http.get(f"{town.urls[0]}/.well-known/oauth-authorization-server")).json()

    async def made(**metadata: Any) -> dict[str, Any]:
        reply = await ann.call("POST", "/oauth2/clients", 201, json=metadata)
        return dict(reply.json())

    grants = ["authorization_code", "refresh_token"]
    local = {"application_type": "native", "redirect_uris": [CALLBACK], "grant_types": grants}
    scope = "openid profile email offline_access jobs:read"
    return Registered(
        ann,
        metadata["issuer"],
        await made(client_name="Confidential", scope=scope, post_logout_redirect_uris=[CALLBACK], **local),
        await made(
            client_name="Public",
            scope="openid jobs:read",
            token_endpoint_auth_method="none",
            **local,
        ),
        await made(client_name="Machine", scope="jobs:read", grant_types=["client_credentials"], roles=["user"]),
        await made(
            client_name="Television",
            scope="openid jobs:read",
            application_type="native",
            token_endpoint_auth_method="none",
            grant_types=["urn:ietf:params:oauth:grant-type:device_code"],
        ),
    )


@pytest.fixture(scope="module")
def packages() -> Path:
    """The npm packages; without npm the tests of these clients are skipped aloud."""
    try:
        return npm_packages()
    except NpmMissing as missing:
        sys.stderr.write(f"\nSKIPPED: the npm clients: {missing}\n")
        pytest.skip(str(missing))


async def steps(script: str, packages: Path, settings: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """Run the script; what it printed for each step, by the step's name."""
    for name in ("browser.mjs", script):
        (folder / name).write_text((CLIENTS / name).read_text())
    (folder / "node_modules").symlink_to(packages / "node_modules")
    process = await asyncio.create_subprocess_exec(
        "node", script, json.dumps(settings), cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    stopping = asyncio.get_running_loop().call_later(90, process.kill)  # what it printed until then says where it hangs
    out, err = await process.communicate()
    stopping.cancel()
    lines = [json.loads(line) for line in out.decode().splitlines()]
    assert process.returncode == 0, f"after {[line['step'] for line in lines]}: {err.decode()[-3000:]}"
    return {line.pop("step"): line for line in lines}


async def test_openid_client(registered: Registered, packages: Path, tmp_path: Path) -> None:
    done = await steps(
        "openid-client.mjs",
        packages,
        {
            "issuer": registered.issuer,
            "client_id": registered.confidential["client_id"],
            "client_secret": registered.confidential["client_secret"],
            "machine_id": registered.machine["client_id"],
            "machine_secret": registered.machine["client_secret"],
            "device_id": registered.device["client_id"],
            "redirect_uri": CALLBACK,
            "username": registered.ann.username,
            "password": PASSWORD,
        },
        tmp_path,
    )
    ann = registered.ann
    assert done == {
        "discovery": {"issuer": registered.issuer},
        "code": {"sub": ann.id, "scope": "email jobs:read offline_access openid profile"},
        "userinfo": {"username": ann.username},
        "refresh": {"same": True},
        "introspection": {"active": True, "sub": ann.id},
        "api": {"status": 200},
        "revocation": {"active": False},
        "par": {"sub": ann.id},
        "dpop": {"type": "dpop", "proven": 200, "stolen": 401},
        "logout": {"at": CALLBACK, "then": "login_required"},
        "device": {"sub": ann.id, "scope": "jobs:read openid"},
        "client_credentials": {"scope": "jobs:read", "type": "bearer"},
    }


async def test_oauth4webapi(registered: Registered, packages: Path, tmp_path: Path) -> None:
    done = await steps(
        "oauth4webapi.mjs",
        packages,
        {
            "issuer": registered.issuer,
            "public_id": registered.public["client_id"],
            "redirect_uri": CALLBACK,
            "username": registered.ann.username,
            "password": PASSWORD,
        },
        tmp_path,
    )
    assert done == {
        "discovery": {"issuer": registered.issuer},
        "code": {"sub": registered.ann.id, "scope": "jobs:read openid"},
        "userinfo": {"sub": registered.ann.id},
        "refresh": {"scope": "jobs:read openid"},
        "revocation": {"status": 400},
        "protected_resource": {"servers": [registered.issuer]},
    }


def walked(url: str, issuer: str, person: dict[str, str]) -> str:
    """The URL at which a browser without scripts ends that signs in and allows what is asked."""
    with requests.Session() as browser:
        reply = browser.get(url, allow_redirects=False, timeout=30)
        for _ in range(12):
            if (location := reply.headers.get("Location")) is not None:
                url = urljoin(url, location)
                if url.startswith(CALLBACK):
                    return url
                reply = browser.get(url, allow_redirects=False, timeout=30)
                continue
            assert reply.status_code == 200, reply.text
            form = re.search(r'action="([^"]+)"', reply.text)
            assert form is not None, reply.text
            hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', reply.text)
            typed = {name: value for name, value in person.items() if f'name="{name}"' in reply.text}
            fields = {name: unescape(value) for name, value in hidden} | typed
            reply = browser.post(
                urljoin(issuer, form[1]), fields, headers={"Origin": issuer}, allow_redirects=False, timeout=30
            )
    raise AssertionError(f"no end after twelve steps: {reply.url}")


async def test_authlib(registered: Registered) -> None:
    """Authlib: code with PKCE, userinfo, refresh, introspection, revocation; client credentials."""
    await asyncio.to_thread(_authlib, registered)


def _authlib(registered: Registered) -> None:
    issuer, ann, client = registered.issuer, registered.ann, registered.confidential
    metadata = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=30).json()
    session = AuthlibSession(
        client["client_id"],
        client["client_secret"],
        scope="openid profile jobs:read",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        default_timeout=30,
    )
    verifier = secrets.token_urlsafe(48)
    url, state = session.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    back = walked(url, issuer, {"username": ann.username, "password": PASSWORD, "decision": "allow"})
    token_endpoint = metadata["token_endpoint"]
    token = session.fetch_token(token_endpoint, authorization_response=back, state=state, code_verifier=verifier)
    assert token["scope"] == "jobs:read openid profile"
    assert session.get(metadata["userinfo_endpoint"]).json()["preferred_username"] == ann.username
    refreshed = session.refresh_token(token_endpoint, refresh_token=token["refresh_token"])
    introspection = metadata["introspection_endpoint"]
    assert session.introspect_token(introspection, token=refreshed["access_token"]).json()["active"] is True
    assert session.revoke_token(metadata["revocation_endpoint"], token=refreshed["refresh_token"]).status_code == 200
    assert session.introspect_token(introspection, token=refreshed["access_token"]).json() == {"active": False}
    machine = AuthlibSession(registered.machine["client_id"], registered.machine["client_secret"], scope="jobs:read")
    own = machine.fetch_token(token_endpoint, grant_type="client_credentials")
    assert (own["scope"], machine.get(f"{issuer}/api/v1/jobs").status_code) == ("jobs:read", 200)


async def test_eight_refreshes_of_a_client_over_two_gateways_have_one_successor(registered: Registered) -> None:
    town, client = registered.ann.town, registered.confidential
    phone, laptop = [await asyncio.to_thread(_code_redeemed, registered) for _ in range(2)]

    async def refreshed(refresh_token: str, gateway: int) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        by = (client["client_id"], client["client_secret"])
        return await town.http.post(f"{town.urls[gateway]}/oauth2/token", data=form, auth=by)

    async def api(token: str) -> list[int]:
        asked = [town.http.get(f"{url}/api/v1/jobs", headers={"Authorization": f"Bearer {token}"}) for url in town.urls]
        return [reply.status_code for reply in await asyncio.gather(*asked)]

    shown, access_token = [phone["refresh_token"]], ""
    for _ in range(2):
        replies = await asyncio.gather(*(refreshed(shown[-1], turn % 2) for turn in range(8)))
        assert [reply.status_code for reply in replies] == [200] * 8, [reply.text for reply in replies]
        [successor] = {reply.json()["refresh_token"] for reply in replies}
        shown.append(successor)
        access_token = replies[0].json()["access_token"]
    assert await api(access_token) == [200, 200]

    reused = await refreshed(shown[0], 1)  # two generations old, and the last one's window is still open
    assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")

    async def refused() -> bool:
        return await api(access_token) == [401, 401]

    await eventually(refused, within_s=2, saying="what the family issued is refused")
    assert (await refreshed(shown[-1], 0)).json()["error"] == "invalid_grant"
    other = await refreshed(laptop["refresh_token"], 1)
    assert await api(other.json()["access_token"]) == [200, 200], "another device goes on"


def _code_redeemed(registered: Registered) -> dict[str, Any]:
    """The tokens of a new sign-in to the confidential client."""
    client, issuer = registered.confidential, registered.issuer
    session = AuthlibSession(
        client["client_id"],
        client["client_secret"],
        scope="openid jobs:read",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        default_timeout=30,
    )
    verifier = secrets.token_urlsafe(48)
    url, state = session.create_authorization_url(f"{issuer}/oauth2/authorize", code_verifier=verifier)
    back = walked(url, issuer, {"username": registered.ann.username, "password": PASSWORD, "decision": "allow"})
    token_endpoint = f"{issuer}/oauth2/token"
    found = session.fetch_token(token_endpoint, authorization_response=back, state=state, code_verifier=verifier)
    return dict(found)


async def test_requests_oauthlib(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    """requests-oauthlib: code with PKCE, userinfo, refresh."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the fleet of the tests has no TLS
    monkeypatch.setenv("OAUTHLIB_RELAX_TOKEN_SCOPE", "1")  # scopes come back sorted
    await asyncio.to_thread(_requests_oauthlib, registered)


def _requests_oauthlib(registered: Registered) -> None:
    issuer, ann, client = registered.issuer, registered.ann, registered.confidential
    session = OAuth2Session(
        client["client_id"], redirect_uri=CALLBACK, scope=["openid", "profile", "jobs:read"], pkce="S256"
    )
    url, _ = session.authorization_url(f"{issuer}/oauth2/authorize")
    back = walked(url, issuer, {"username": ann.username, "password": PASSWORD, "decision": "allow"})
    token_endpoint = f"{issuer}/oauth2/token"
    basic = requests.auth.HTTPBasicAuth(client["client_id"], client["client_secret"])
    token = session.fetch_token(token_endpoint, authorization_response=back, auth=basic, include_client_id=False)
    assert session.get(f"{issuer}/oauth2/userinfo").json()["preferred_username"] == ann.username
    refreshed = session.refresh_token(token_endpoint, refresh_token=token["refresh_token"], auth=basic)
    assert refreshed["refresh_token"] != token["refresh_token"]
    assert session.get(f"{issuer}/api/v1/jobs").status_code == 200
