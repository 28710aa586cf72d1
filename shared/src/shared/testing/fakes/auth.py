"""auth-service: the keys of access tokens, the feed of ended sessions, tickets."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.responses import JSONResponse, Response

from shared.identity.access_tokens import sign_access_token
from shared.identity.keys import generate_key
from shared.identity.principal import Principal
from shared.testing.fakes.fake import Answers, Call, FeedFake, problem
from shared.testing.people import People

REDEEM = "POST /internal/tickets/redeem"


class FakeAuth(FeedFake):
    """Signs access tokens with `key` for the fleet at `public_url`; `tickets` are claims by ticket and path."""

    service = "auth"

    def __init__(self, people: People, public_url: str = "http://localhost:8000") -> None:
        super().__init__(people)
        self.key = generate_key()
        self.public_url = public_url
        self.tickets: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/oauth2/jwks.json"

    def access_token(self, principal: Principal) -> str:
        """The person's own token."""
        url, now = self.public_url, int(time.time())
        return sign_access_token(principal.to_claims(), self.key, issuer=url, public_url=url, now=now)

    def end_session(self, session_id: UUID | None) -> None:
        self.revoke("session", id=str(session_id))

    @property
    def redeemed(self) -> list[Call]:
        """The calls that redeemed a ticket, or tried to."""
        return [call for call in self.calls if call.operation == REDEEM]

    def answers(self) -> Mapping[str, Answers]:
        return {
            **super().answers(),
            "GET /oauth2/jwks.json": lambda call: JSONResponse({"keys": [self.key.public_jwk]}),
            REDEEM: self._redeem,
        }

    def _redeem(self, call: Call) -> Response:
        claims = self.tickets.get((call.body["ticket"], call.body["path"]))
        return JSONResponse({"claims": claims}) if claims else problem(401, "invalid_token")
