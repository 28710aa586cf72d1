"""An OAuth client and a person's browser, as the tests of the authorization server need them."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from .door import PASSWORD, Door

ISSUER = "http://localhost:8000"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CALLBACK = "https://planner.example/callback"
ORIGIN = {"Origin": ISSUER}
METADATA = {
    "client_name": "Planner",
    "redirect_uris": [CALLBACK],
    "grant_types": ["authorization_code", "refresh_token"],
    "scope": "openid profile email offline_access jobs:read chat:read",
}

Reply = httpx2.Response


def pkce() -> tuple[str, str]:
    """A verifier and its S256 challenge."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).decode().rstrip("=")


def answer_of(reply: Reply) -> dict[str, str]:
    """The parameters that a redirect to the client carries."""
    assert reply.status_code == 303, reply.text
    query = urlsplit(reply.headers["location"]).query
    return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}


def fields_of(html: str) -> dict[str, str]:
    """The hidden fields of the page's form."""
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html)}


@dataclass
class OAuthClient:
    """A registered client."""

    door: Door
    id: str
    secret: str | None
    verifier: str = ""

    def query(self, **changes: Any) -> dict[str, Any]:
        """A valid authorization request; None takes a parameter out."""
        self.verifier, challenge = pkce()
        wanted = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": CALLBACK,
            "scope": "openid jobs:read",
            "state": "s-1",
            "nonce": "n-1",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in {**wanted, **changes}.items() if value is not None}

    def redemption(self, code: str, **changes: Any) -> dict[str, str]:
        """The form that redeems a code; None takes a parameter out."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": self.verifier,
        }
        return {name: value for name, value in {**form, **changes}.items() if value is not None}

    async def post(self, path: str, form: dict[str, str], **headers: str) -> Reply:
        """A form to one of the endpoints, authenticated by HTTP Basic, or by `client_id` alone without a secret."""
        if self.secret is None:
            return await self.door.client.post(f"/oauth2/{path}", data={"client_id": self.id, **form}, headers=headers)
        credentials = base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()
        basic = {"Authorization": f"Basic {credentials}"}
        return await self.door.client.post(f"/oauth2/{path}", data=form, headers=basic | headers)

    async def redeem(self, code: str, **changes: Any) -> Reply:
        return await self.post("token", self.redemption(code, **changes))

    async def refresh(self, refresh_token: str, **more: str) -> Reply:
        return await self.post("token", {"grant_type": "refresh_token", "refresh_token": refresh_token, **more})


@dataclass
class Browser:
    """A person's browser without scripts: it keeps the cookies that it is sent."""

    door: Door
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> Reply:
        url = f"{path}?{urlencode(query, doseq=True)}" if query else path
        return self._kept(await self.door.client.get(url, headers=self._sent(path) | headers))

    async def send(self, path: str, fields: dict[str, str], **headers: str) -> Reply:
        return self._kept(await self.door.client.post(path, data=fields, headers=ORIGIN | self._sent(path) | headers))

    async def sign_in(self, username: str, page: str = "/auth/pages/sign-in", password: str = PASSWORD) -> Reply:
        """Fill in the sign-in page; the answer."""
        shown = await self.get(page)
        fields = {**fields_of(shown.text), "username": username, "password": password}
        return await self.send("/auth/pages/sign-in", fields)

    async def allow(self, consent_page: Reply, decision: str = "allow") -> Reply:
        return await self.send("/oauth2/consent", {**fields_of(consent_page.text), "decision": decision})

    def _sent(self, path: str) -> dict[str, str]:
        shown = "; ".join(f"{name}={value}" for name, value in self.cookies.items() if path.startswith("/oauth2"))
        return {"Cookie": shown} if shown else {}

    def _kept(self, reply: Reply) -> Reply:
        self.cookies |= dict(reply.cookies.items())
        self.door.client.cookies.clear()
        return reply


async def registered(door: Door, admin: dict[str, Any], **changes: Any) -> OAuthClient:
    """A client that the admin registers."""
    reply = await door.client.post("/oauth2/clients", json={**METADATA, **changes}, headers=door.bearer(admin))
    assert reply.status_code == 201, reply.text
    return OAuthClient(door, reply.json()["client_id"], reply.json().get("client_secret"))


async def code_for(browser: Browser, client: OAuthClient, **changes: Any) -> str:
    """A code for the person whose browser is signed in, who allows what is asked."""
    reply = await browser.get("/oauth2/authorize", client.query(**changes))
    if reply.status_code == 200:
        reply = await browser.allow(reply)
    answer = answer_of(reply)
    assert "code" in answer, answer
    return answer["code"]
