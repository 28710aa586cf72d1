"""An upstream OpenID Connect issuer over real HTTP, and a browser that visits it; a test decides what it answers."""

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx2
import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from shared.identity.keys import SigningKey, generate_key
from shared.testing.running import running

from .door import Door

CLIENT_ID, CLIENT_SECRET = "flotilla", "s3cret: %/&+"

Tampering = Callable[[dict[str, Any]], None]


@dataclass
class Issuer:
    """Signs in whom the test names. `tamper` changes an ID token's claims; `sign` makes the token of them."""

    url: str = ""
    key: SigningKey = field(default_factory=generate_key)
    metadata: dict[str, Any] = field(default_factory=dict)
    tamper: Tampering = lambda claims: None
    sign: Callable[[dict[str, Any]], str] | None = None
    answer: Callable[[dict[str, Any]], Any] = lambda body: body
    userinfo: dict[str, Any] | None = None
    subject: str = ""
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    exchanges: list[dict[str, str]] = field(default_factory=list)

    def sign_in(self, authorization_url: str, subject: str, **claims: Any) -> dict[str, str]:
        """What the person `subject` comes back with, as query parameters."""
        asked = dict(parse_qsl(urlsplit(authorization_url).query))
        code = secrets.token_urlsafe(16)
        self.codes[code] = {"asked": asked, "claims": {"sub": subject, **claims}}
        return {"code": code, "state": asked["state"], "iss": self.url}

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/jwks", self._jwks),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
            ]
        )

    async def _discovery(self, request: Request) -> JSONResponse:
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256", "none", "HS256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return JSONResponse({k: v for k, v in (document | self.metadata).items() if v is not None})

    async def _jwks(self, request: Request) -> JSONResponse:
        return JSONResponse({"keys": [self.key.public_jwk]})

    async def _token(self, request: Request) -> JSONResponse:
        form = dict(parse_qsl((await request.body()).decode()))
        self.exchanges.append(form)
        known = self.codes.pop(form.get("code", ""), None)
        if known is None or not _is_ours(request, form, known["asked"]):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": known["asked"]["nonce"]}
        claims |= known["claims"]
        self.subject = claims["sub"]
        self.tamper(claims)
        body = {"access_token": "upstream-access", "token_type": "Bearer", "id_token": self.signed(claims)}
        return JSONResponse(self.answer(body))

    def signed(self, claims: dict[str, Any]) -> str:
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode(claims, self.key.key, self.key.algorithm, headers={"kid": self.key.kid})

    async def _userinfo(self, request: Request) -> JSONResponse:
        if request.headers.get("authorization") != "Bearer upstream-access":
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse(self.userinfo or {"sub": self.subject})


def _is_ours(request: Request, form: dict[str, str], asked: dict[str, str]) -> bool:
    """Whether the code is redeemed by the client that asked for it, with the verifier of its challenge."""
    verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
    given = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
    secret = urlencode({"": CLIENT_SECRET})[1:]
    return (
        challenge == asked["code_challenge"]
        and asked["code_challenge_method"] == "S256"
        and form["redirect_uri"] == asked["redirect_uri"]
        and given == f"{CLIENT_ID}:{secret}"
    )


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    async with running(issuer.app()) as url:
        issuer.url = url
        yield issuer


@dataclass
class Browser:
    """A browser with cookies of its own, at our pages."""

    http: httpx2.AsyncClient

    async def start(self, provider: dict[str, Any], **query: str) -> str:
        """Begins to sign in; the issuer's URL to which the browser is sent."""
        reply = await self.http.get(f"/auth/upstream/{provider['id']}/start", params=query)
        assert reply.status_code == 303, reply.text
        return reply.headers["location"]

    async def come_back(self, provider: dict[str, Any], answer: dict[str, str]) -> httpx2.Response:
        return await self.http.get(f"/auth/upstream/{provider['id']}/callback", params=answer)

    async def sign_in(
        self,
        provider: dict[str, Any],
        issuer: Issuer,
        subject: str,
        *,
        query: dict[str, str] | None = None,
        **claims: Any,
    ) -> httpx2.Response:
        url = await self.start(provider, **(query or {}))
        return await self.come_back(provider, issuer.sign_in(url, subject, **claims))

    async def link(
        self, provider: dict[str, Any], issuer: Issuer, headers: dict[str, str], subject: str, **claims: Any
    ) -> httpx2.Response:
        reply = await self.http.post(f"/auth/identities/{provider['id']}/link", headers=headers)
        assert reply.status_code == 201, reply.text
        return await self.come_back(provider, issuer.sign_in(reply.json()["authorization_url"], subject, **claims))


@asynccontextmanager
async def browsing(base_url: str) -> AsyncIterator[Browser]:
    async with httpx2.AsyncClient(base_url=base_url, timeout=10) as http:
        yield Browser(http)


async def registered(door: Door, headers: dict[str, str], issuer_url: str, **more: Any) -> dict[str, Any]:
    """An identity provider, as an admin registers it."""
    body = {"name": "Workforce", "issuer": issuer_url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    reply = await door.client.post("/auth/identity-providers", json=body | more, headers=headers)
    assert reply.status_code == 201, reply.text
    provider: dict[str, Any] = reply.json()
    return provider


def state_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["state"][0]
