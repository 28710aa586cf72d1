"""Reading authorization requests, pushing them, and issuing and spending codes."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Account
from auth_service.audit import service as audit
from auth_service.authorization.models import AuthorizationCode, PushedRequest
from auth_service.authorization.request import (
    AuthorizationRefused,
    AuthorizationRequest,
    RequestUnusable,
    checked,
    client_id_of,
    parameters,
)
from auth_service.clients.models import Client
from auth_service.oauth_errors import GrantReplayed, OAuthError
from auth_service.sessions import ending
from auth_service.sessions.models import Session

CODE_TTL_S: Final = 60
PUSHED_TTL_S: Final = 600  # as long as a person may take to sign in
REQUEST_URI: Final = "urn:ietf:params:oauth:request_uri:"

_RANDOM_BYTES: Final = 32
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636, section 4.1


async def read(db: AsyncSession, query: str, public_url: str) -> AuthorizationRequest:
    """The request that a query is, or that it names by `request_uri`. Raises RequestUnusable, AuthorizationRefused."""
    found, repeated = parameters(query)
    client = await db.get(Client, client_id_of(found))
    if client is None or client.disabled_at is not None:
        raise RequestUnusable("The request names no known client (client_id).")
    if "request_uri" in found:
        pushed = await db.scalar(select(PushedRequest).where(*_valid(found["request_uri"], client)))
        if pushed is None:
            raise RequestUnusable("The request has expired or was used before.")
        found, repeated = parameters(pushed.query)
    request = checked(client, found, repeated, public_url)
    if client.require_par and "request_uri" not in parameters(query)[0]:
        raise request.refusal("invalid_request", "The client must push its requests (RFC 9126).")
    return request


async def push(db: AsyncSession, client: Client, form: Mapping[str, str], public_url: str) -> str:
    """Store the request of an authenticated client; its `request_uri`. Raises OAuthError (RFC 9126, section 2.3)."""
    credentials = ("client_secret", "client_assertion", "client_assertion_type")
    found = {name: value for name, value in form.items() if name not in credentials}
    if "request_uri" in found:
        raise OAuthError("invalid_request", "A pushed request cannot name another one (request_uri).")
    try:
        checked(client, found, (), public_url)
    except RequestUnusable as problem:
        raise OAuthError("invalid_request", problem.detail) from None
    except AuthorizationRefused as refused:
        raise OAuthError(refused.error, refused.description) from None
    reference = secrets.token_urlsafe(_RANDOM_BYTES)
    expires_at = func.now() + timedelta(seconds=PUSHED_TTL_S)
    db.add(PushedRequest(digest=_digest(reference), client_id=client.id, query=urlencode(found), expires_at=expires_at))
    await db.flush()
    return REQUEST_URI + reference


async def pushed_at(db: AsyncSession, query: str) -> datetime | None:
    """When the request was pushed; None for one that is not pushed."""
    request_uri = parameters(query)[0].get("request_uri")
    if request_uri is None:
        return None
    digest = _digest(request_uri.removeprefix(REQUEST_URI))
    found: datetime | None = await db.scalar(select(PushedRequest.created_at).where(PushedRequest.digest == digest))
    return found


async def issue_code(
    db: AsyncSession,
    request: AuthorizationRequest,
    query: str,
    opened_by: Session,
    tenant_id: UUID,
    scopes: frozenset[str],
) -> str:
    """A code for the person of the session `opened_by`. A pushed request is spent. Raises RequestUnusable."""
    request_uri = parameters(query)[0].get("request_uri")
    if request_uri is not None:
        spent = delete(PushedRequest).where(*_valid(request_uri, request.client)).returning(PushedRequest.digest)
        if await db.scalar(spent) is None:
            raise RequestUnusable("The request was used before.")
    code = secrets.token_urlsafe(_RANDOM_BYTES)
    db.add(
        AuthorizationCode(
            digest=_digest(code),
            client_id=request.client.id,
            account_id=opened_by.account_id,
            tenant_id=tenant_id,
            opened_by=opened_by.id,
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
            scopes=sorted(scopes),
            nonce=request.nonce,
            audience=request.audience,
            dpop_jkt=request.dpop_jkt,
            expires_at=func.now() + timedelta(seconds=CODE_TTL_S),
        )
    )
    await db.flush()
    return code


async def spend_code(db: AsyncSession, client: Client, form: Mapping[str, str], address: str) -> AuthorizationCode:
    """The code that `client` redeems, locked with its account until the transaction ends.

    It is spent by the session stored in it. A code that was spent before ends what it issued (RFC 6749, section 4.1.2).
    Raises OAuthError, GrantReplayed.
    """
    digest = _digest(form.get("code", ""))
    if (found := await db.get(AuthorizationCode, digest)) is not None:
        await db.get(Account, found.account_id, with_for_update={"key_share": True})  # before the code
    code = await db.get(AuthorizationCode, digest, with_for_update=True, populate_existing=True)
    now = await db.scalar(select(func.clock_timestamp()))
    if code is None or code.client_id != client.id:
        raise OAuthError("invalid_grant", "The code is unknown, or another client's.")
    if code.session_id is not None:
        await _end_replayed(db, code, address)
        raise GrantReplayed
    if now is None or code.expires_at <= now:
        raise OAuthError("invalid_grant", "The code has expired.")
    if form.get("redirect_uri", code.redirect_uri) != code.redirect_uri:
        raise OAuthError("invalid_grant", "The redirect_uri is not that of the authorization request.")
    if not _is_verifier(form.get("code_verifier", ""), code.code_challenge):
        raise OAuthError("invalid_grant", "The code_verifier is not that of the authorization request.")
    return code


async def prune(db: AsyncSession) -> None:
    """Delete codes a day after they expired, so that a replay is noticed, and pushed requests that expired."""
    await db.execute(delete(AuthorizationCode).where(AuthorizationCode.expires_at < func.now() - timedelta(days=1)))
    await db.execute(delete(PushedRequest).where(PushedRequest.expires_at < func.now()))


async def _end_replayed(db: AsyncSession, code: AuthorizationCode, address: str) -> None:
    session = await db.get(Session, code.session_id, with_for_update=True)
    audit.record(
        db,
        "authorization_code_replayed",
        account_id=code.account_id,
        session_id=code.session_id,
        tenant_id=code.tenant_id,
        address=address,
        client_id=str(code.client_id),
    )
    if session is not None and session.ended_at is None:
        await ending.end_session(db, session, "code_replayed", address)


def _valid(request_uri: str, client: Client) -> tuple[ColumnElement[bool], ...]:
    digest = _digest(request_uri.removeprefix(REQUEST_URI))
    return (
        PushedRequest.digest == digest,
        PushedRequest.client_id == client.id,
        PushedRequest.expires_at > func.now(),
    )


def _is_verifier(verifier: str, challenge: str) -> bool:
    if _VERIFIER.fullmatch(verifier) is None:
        return False
    computed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    return hmac.compare_digest(computed, challenge)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
