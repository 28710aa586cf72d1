"""Accepting each proof once, and what a client must prove."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.clients.models import Client, UsedAssertion
from auth_service.oauth_errors import OAuthError
from shared.identity.dpop import Proof


async def use(db: AsyncSession, client: Client, proof: Proof | None) -> None:
    """Accept the proof of a request by `client`. Raises OAuthError if it was used before, or if one is missing."""
    if proof is None:
        if client.dpop_bound:
            raise OAuthError("invalid_request", "The client must send a DPoP proof (dpop_bound_access_tokens).")
        return
    row = insert(UsedAssertion).values(digest=proof.digest, expires_at=datetime.fromtimestamp(proof.ends_at, UTC))
    if (await db.execute(row.on_conflict_do_nothing().returning(UsedAssertion.digest))).first() is None:
        raise OAuthError("invalid_dpop_proof", "The proof was used before (`jti`).")


def bound(pushed: Mapping[str, str], proof: Proof) -> dict[str, str]:
    """The pushed request, whose code is bound to the proof's key. Raises OAuthError if it names another key."""
    if pushed.get("dpop_jkt", proof.jkt) != proof.jkt:
        raise OAuthError("invalid_request", "dpop_jkt is not the thumbprint of the proof's key.")
    return {**pushed, "dpop_jkt": proof.jkt}


def check_code(bound_to: str | None, proof: Proof | None) -> None:
    """Raises OAuthError unless the key is the one that the code is bound to (RFC 9449, section 10)."""
    if bound_to is not None and (proof is None or proof.jkt != bound_to):
        raise OAuthError("invalid_grant", "The code is bound to another key (dpop_jkt).")


def check_refresh(bound_to: str | None, client: Client, proof: Proof | None) -> None:
    """Raises OAuthError unless the client may refresh a session that is bound to that key.

    A public client proves the same key again. A client that authenticates may have changed its key, but its session
    does not return to bearer tokens (RFC 9449, section 5).
    """
    if bound_to is None:
        return
    if proof is None:
        raise OAuthError("invalid_request", "The session's tokens are bound to a key: send a DPoP proof.")
    if not client.confidential and proof.jkt != bound_to:
        raise OAuthError("invalid_grant", "The refresh token is bound to another key.")
