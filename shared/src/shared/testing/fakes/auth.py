"""auth-service: the keys of access tokens, the feed of ended sessions, tickets."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.responses import JSONResponse, Response

from shared.identity.access_tokens import sign_access_token
from shared.identity.keys import SigningKey, generate_key
from shared.identity.principal import Principal
from shared.testing.fakes.fake import Answers, Call, FeedFake, problem
from shared.testing.people import People

REDEEM = "POST /internal/tickets/redeem"
REDEEM_KEY = "POST /internal/api-keys/redeem"
SEND_INVITATION = "POST /internal/mails/invitation"
CHECK_EMAIL = "POST /internal/verified-emails/check"


class FakeAuth(FeedFake):
    """Signs access tokens with `key` for the fleet at `public_url`.

    `tickets` are claims by ticket and path, `api_keys` by key.
    `id_token_keys` are published beside it and sign no access token. `invitations` are the mails that it was asked for,
    `verified` the addresses of people by id, `refuses_mail` the status and code of a refusal.
    """

    service = "auth"

    def __init__(self, people: People, public_url: str = "http://localhost:8000") -> None:
        super().__init__(people)
        self.key = generate_key()
        self.id_token_keys: list[SigningKey] = []
        self.public_url = public_url
        self.tickets: dict[tuple[str, str], dict[str, Any]] = {}
        self.api_keys: dict[str, dict[str, Any]] = {}
        self.invitations: list[dict[str, Any]] = []
        self.verified: dict[str, str] = {}
        self.refuses_mail: tuple[int, str] | None = None

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/oauth2/jwks.json"

    def access_token(self, principal: Principal) -> str:
        """The person's own token."""
        url, now, claims = self.public_url, int(time.time()), principal.to_claims()
        return sign_access_token(claims, self.key, issuer=url, audience=url, now=now, act=claims.get("act"))

    def end_session(self, session_id: UUID | None) -> None:
        self.revoke("session", id=str(session_id))

    @property
    def redeemed(self) -> list[Call]:
        """The calls that redeemed a ticket, or tried to."""
        return [call for call in self.calls if call.operation == REDEEM]

    @property
    def redeemed_keys(self) -> list[Call]:
        """The calls that redeemed an API key, or tried to."""
        return [call for call in self.calls if call.operation == REDEEM_KEY]

    def answers(self) -> Mapping[str, Answers]:
        return {
            **super().answers(),
            "GET /oauth2/jwks.json": lambda call: JSONResponse({"keys": self._published()}),
            REDEEM: self._redeem,
            REDEEM_KEY: self._redeem_key,
            SEND_INVITATION: self._send_invitation,
            CHECK_EMAIL: self._check_email,
        }

    def _published(self) -> list[dict[str, str]]:
        return [key.public_jwk for key in (self.key, *self.id_token_keys)]

    def _redeem(self, call: Call) -> Response:
        claims = self.tickets.get((call.body["ticket"], call.body["path"]))
        return JSONResponse({"claims": claims}) if claims else problem(401, "invalid_token")

    def _redeem_key(self, call: Call) -> Response:
        claims = self.api_keys.get(call.body["key"])
        return JSONResponse({"claims": claims}) if claims else problem(401, "invalid_token")

    def _send_invitation(self, call: Call) -> Response:
        if self.refuses_mail is not None:
            return problem(*self.refuses_mail)
        if call.body["mail_id"] not in {mail["mail_id"] for mail in self.invitations}:
            self.invitations.append(call.body)
        return JSONResponse(None, 202)

    def _check_email(self, call: Call) -> Response:
        own = self.verified.get(call.body["user_id"], "")
        return JSONResponse({"verified": own.lower() == call.body["email"].lower()})
