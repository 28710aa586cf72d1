"""Introspection (RFC 7662): what a token is worth now. The client and the token are looked up by one statement."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Boolean, Text, Uuid, and_, bindparam, exists, not_, or_, select
from sqlalchemy.orm import aliased

from auth_service.clients.authentication import COLUMNS, Credentials, authenticated
from auth_service.clients.models import Client
from auth_service.keyring import Keyring
from auth_service.oauth_errors import InvalidClient
from auth_service.oauth_tokens.access_tokens import AccessToken, AccessTokens
from auth_service.oauth_tokens.schemas import IntrospectionOut
from auth_service.revocations import service as ended_tokens
from auth_service.sessions import service as sessions
from auth_service.sessions.models import Session, open_conditions
from auth_service.sessions.refresh_tokens import decode
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.data.prepared import Prepared
from shared.identity import Revocations

Answer = dict[str, Any]

INACTIVE: Final[Answer] = {"active": False}
_NOTHING: Final = {"user_id": None, "epoch": None, "session_id": None, "token_id": None}
_SHOWN: Final = tuple(name for name in IntrospectionOut.model_fields if name != "active")

_Machine = aliased(Client)
_machine = and_(
    bindparam("is_machine", type_=Boolean),
    exists().where(_Machine.id == bindparam("user_id", type_=Uuid), _Machine.disabled_at.is_(None)),
    not_(ended_tokens.ended_token(bindparam("token_id", type_=Text))),
)
# The caller by its id, and whether the token is live: a client's own, or a person's.
_ASKED: Final = Prepared(
    select(*COLUMNS.all, or_(_machine, sessions.live()).label("live")).where(
        Client.id == bindparam("client_id", type_=Uuid)
    )
)


@dataclass(frozen=True)
class Introspection:
    database: Database
    tokens: AccessTokens
    keyring: Keyring
    revocations: Revocations
    """Memberships and tenants, which users-service ends."""
    settings: AuthSettings

    async def ask(self, shown: Credentials, token: str) -> tuple[Client, Answer]:
        """The caller, and what the token is worth for it. Raises InvalidClient.

        An assertion by which the caller authenticates is not verified here.
        """
        known = await self.tokens.verified(token)
        values = _NOTHING if known is None else sessions.live_values(known.user)
        is_machine = known is not None and known.user.client_id == str(known.user.user_id)
        row = await self.database.first(_ASKED, client_id=shown.client_id, is_machine=is_machine, **values)
        client = authenticated(row, shown)
        if not client.confidential:
            raise InvalidClient("Only a client that authenticates may introspect tokens.")
        if known is None:
            return client, await self._of_refresh_token(client, token)
        if row is None or not row["live"] or client.tenant_id not in (None, known.user.tenant_id):
            return client, INACTIVE
        if self.revocations.ended(known.user) is not None:
            return client, INACTIVE
        return client, _of_access_token(known)

    async def _of_refresh_token(self, client: Client, token: str) -> Answer:
        refresh_token = decode(token, self.keyring)
        if refresh_token is None:
            return INACTIVE
        current = (
            Session.id == refresh_token.family,
            Session.generation == refresh_token.generation,
            Session.client_id == str(client.id),
        )
        async with self.database.transaction() as db:
            session = await db.scalar(select(Session).where(*current, *open_conditions(self.settings.sessions)))
        if session is None:
            return INACTIVE
        return {
            "active": True,
            "scope": " ".join(session.limited_to or ()),
            "client_id": session.client_id,
            "sub": str(session.account_id),
            "iss": self.settings.public_url,
            "sid": str(session.id),
            "tenant": str(session.tenant_id),
            "token_type": "refresh_token",
        }


def _of_access_token(token: AccessToken) -> Answer:
    token_type = "Bearer" if token.user.dpop_jkt is None else "DPoP"
    shown = {name: token.claims[name] for name in _SHOWN if name in token.claims}
    return {"active": True, **shown, "username": token.user.username, "token_type": token_type}
