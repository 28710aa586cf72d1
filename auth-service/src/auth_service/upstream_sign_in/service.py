"""Ceremonies: each is bound to the browser that began it, to one provider, and can be finished once.

The browser's cookie holds a random secret. `nonce` and the PKCE verifier are derived from it and from `state`, and the
database has hashes only: nothing that is stored, sent or logged elsewhere finishes a ceremony.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account
from auth_service.identity_providers.exchange import Proof
from auth_service.sessions.models import Session
from auth_service.upstream_sign_in.models import CEREMONY_TTL_S, UpstreamCeremony
from shared.problems import Conflict, Forbidden, Problem

_SECRET_BYTES: Final = 32


class CeremonyInvalid(Problem):
    """The sign-in was finished before, has expired, or began in another browser."""

    status, title = 400, "This sign-in is not valid"
    remedy = "Begin again in this browser."


class UpstreamUnusable(Problem):
    """The identity provider did not answer, or its answer is not a valid one for this sign-in."""

    status, title = 502, "The identity provider gave no valid answer"
    remedy = "Begin again. If that does not help, ask the people who run the provider."


class UpstreamDenied(Forbidden):
    """The identity provider did not sign the person in, or the person refused there."""

    status, title = 403, "The identity provider did not sign you in"
    remedy = "Begin again, or sign in another way."


class LinkNeeded(Conflict):
    """An account has this email. Only its person can link the identity, so it does not sign in by itself."""

    status, title = 409, "An account with this email exists"
    remedy = "Sign in to it as before, then link the identity in the account's settings."


def new_browser_secret() -> str:
    """What a browser's cookie holds."""
    return secrets.token_urlsafe(_SECRET_BYTES)


async def begin(
    db: AsyncSession,
    provider_id: UUID,
    browser: str,
    *,
    account_id: UUID | None = None,
    session_id: UUID | None = None,
    continued: str = "",
    tenant: str | None = None,
) -> str:
    """The `state` of a new ceremony of this browser."""
    state = secrets.token_urlsafe(_SECRET_BYTES)
    db.add(
        UpstreamCeremony(
            digest=_digest(state),
            browser=_digest(browser),
            provider_id=provider_id,
            account_id=account_id,
            session_id=session_id,
            continued=continued,
            tenant=tenant,
            expires_at=func.now() + timedelta(seconds=CEREMONY_TTL_S),
        )
    )
    await db.flush()
    return state


async def spend(db: AsyncSession, provider_id: UUID, browser: str, state: str) -> UpstreamCeremony:
    """The ceremony, which is over by this: of concurrent calls, one gets it. Raises CeremonyInvalid.

    A call with another browser's `state` spends nothing.
    """
    its = (
        UpstreamCeremony.digest == _digest(state),
        UpstreamCeremony.browser == _digest(browser),
        UpstreamCeremony.provider_id == provider_id,
        UpstreamCeremony.expires_at > func.now(),
    )
    found: UpstreamCeremony | None = await db.scalar(delete(UpstreamCeremony).where(*its).returning(UpstreamCeremony))
    if found is None:
        raise CeremonyInvalid
    return found


async def may_link(db: AsyncSession, ceremony: UpstreamCeremony) -> bool:
    """Whether the session that asked for the link is still open, and its account active."""
    asked = exists().where(
        Session.id == ceremony.session_id,
        Session.account_id == ceremony.account_id,
        Session.ended_at.is_(None),
        Account.id == Session.account_id,
        Account.status == ACTIVE,
    )
    return bool(await db.scalar(select(asked)))


async def prune(db: AsyncSession) -> None:
    """Delete ceremonies that were never finished."""
    await db.execute(delete(UpstreamCeremony).where(UpstreamCeremony.expires_at < func.now()))


def proof_of(browser: str, state: str) -> Proof:
    """The ceremony's `nonce` and PKCE verifier (RFC 7636, section 4.1)."""
    return Proof(nonce=_derived(browser, "nonce", state), code_verifier=_derived(browser, "code verifier", state))


def code_challenge(proof: Proof) -> str:
    """The S256 challenge of the verifier (RFC 7636, section 4.2)."""
    return _encoded(hashlib.sha256(proof.code_verifier.encode()).digest())


def _derived(browser: str, purpose: str, state: str) -> str:
    return _encoded(hmac.digest(browser.encode(), f"{purpose} {state}".encode(), "sha256"))


def _encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
