"""users-service and auth-service as chat-service meets them: memberships, revocations, keys; served on a socket."""

import time
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from shared.identity.access_tokens import sign_access_token
from shared.identity.keys import SigningKey, generate_key
from shared.identity.principal import Principal

PUBLIC_URL = "http://localhost:8000"


class Neighbours:
    """What the two services say, as a test moves it."""

    def __init__(self) -> None:
        self.memberships: dict[tuple[UUID, UUID], dict[str, Any]] = {}
        self.entries: list[dict[str, Any]] = []
        self.url = ""
        self.key: SigningKey = generate_key()
        self.app = self._application()

    def add_member(self, tenant_id: UUID, user_id: UUID, username: str, *, status: str = "active") -> None:
        known = {"username": username, "roles": ["user"], "status": status, "version": 1, "tenant": {"slug": "acme"}}
        self.memberships[tenant_id, user_id] = {"user_id": str(user_id), **known}

    def revoke(self, kind: str, **fields: Any) -> None:
        """Say in the feed that something has ended."""
        self.entries.append({"kind": kind, "expires_at": int(time.time()) + 600, **fields})

    def access_token(self, principal: Principal) -> str:
        """The person's own token, as auth-service signs it."""
        now = int(time.time())
        return sign_access_token(principal.to_claims(), self.key, issuer=PUBLIC_URL, public_url=PUBLIC_URL, now=now)

    def _application(self) -> FastAPI:
        app = FastAPI()

        @app.get("/internal/memberships/{tenant_id}/{user_id}")
        async def membership(tenant_id: UUID, user_id: UUID) -> Response:
            found = self.memberships.get((tenant_id, user_id))
            missing = JSONResponse({"code": "not_found"}, 404, media_type="application/problem+json")
            return JSONResponse(found) if found else missing

        @app.get("/internal/revocations")
        async def revocations() -> dict[str, Any]:
            return {"entries": self.entries, "next": "1"}

        @app.get("/oauth2/jwks.json")
        async def jwks() -> dict[str, Any]:
            return {"keys": [self.key.public_jwk]}

        return app
