"""Reading a client's request to sign the person out."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import jwt
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.authorization.request import RequestUnusable, client_id_of, parameters
from auth_service.clients.models import Client
from auth_service.signing_keys import service as signing_keys
from shared.identity.tokens import read_header
from shared.problems import InvalidToken, Problem


class LogoutUnusable(Problem):
    """The client is unknown, or the address to go to is not one of its own, so the browser is sent nowhere."""

    status, title = 400, "This sign-out link is not valid"
    remedy = "Ask the developers of the application to check client_id, id_token_hint and post_logout_redirect_uri."


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """A valid request. `hinted` are the claims of its id_token_hint; None without one that this server signed."""

    client: Client | None
    hinted: dict[str, Any] | None
    redirect_uri: str | None
    state: str | None
    ui_locales: str | None

    def is_of(self, session_id: UUID, account_id: UUID) -> bool:
        """Whether the hint proves that the client knows this very sign-in, so that no confirmation is needed."""
        hinted = self.hinted or {}
        return (hinted.get("sid"), hinted.get("sub")) == (str(session_id), str(account_id))

    @property
    def target(self) -> str | None:
        """Where the browser goes once it is signed out."""
        if self.redirect_uri is None or self.state is None:
            return self.redirect_uri
        separator = "&" if urlsplit(self.redirect_uri).query else "?"
        return f"{self.redirect_uri}{separator}{urlencode({'state': self.state})}"


async def read(db: AsyncSession, query: str, public_url: str) -> LogoutRequest:
    """The request that a query is. Raises LogoutUnusable."""
    try:
        found, repeated = parameters(query)
        named = client_id_of(found) if "client_id" in found else None
    except RequestUnusable as problem:
        raise LogoutUnusable(problem.detail) from None
    if repeated:
        raise LogoutUnusable("A parameter is repeated.")
    hinted = await _hinted(db, found.get("id_token_hint", ""), public_url)
    if named is not None and hinted is not None and hinted["aud"] != str(named):
        raise LogoutUnusable("The client_id is not the one that the id_token_hint was issued to.")
    client_id = UUID(hinted["aud"]) if hinted is not None else named
    client = await db.get(Client, client_id) if client_id is not None else None
    if named is not None and client is None:
        raise LogoutUnusable("The request names no known client (client_id).")
    redirect_uri = found.get("post_logout_redirect_uri")
    if redirect_uri is not None and (client is None or redirect_uri not in client.post_logout_redirect_uris):
        raise LogoutUnusable("The post_logout_redirect_uri is not one that the client has registered.")
    return LogoutRequest(client, hinted, redirect_uri, found.get("state"), found.get("ui_locales"))


async def _hinted(db: AsyncSession, token: str, public_url: str) -> dict[str, Any] | None:
    """The claims of an ID token that this server signed, also an expired one (section 2); None for anything else."""
    try:
        header = read_header(token)
    except InvalidToken:
        return None
    key = await signing_keys.verifying(db, header.kid) if header.typ == "jwt" else None
    if key is None or key.algorithm != "RS256":
        return None
    options: jwt.types.Options = {"verify_aud": False, "verify_exp": False, "require": ["iss", "sub", "aud", "sid"]}
    try:
        return jwt.decode(token, key.key, ["RS256"], options, issuer=public_url)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
