"""Revocation (RFC 7009): a client ends a token of its own."""

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.clients.models import Client
from auth_service.oauth_tokens.access_tokens import AccessTokens
from auth_service.revocations import service as revocations
from auth_service.sessions import ending
from auth_service.sessions.models import Session
from auth_service.sessions.refresh_tokens import RefreshToken


async def revoke_refresh_token(db: AsyncSession, client: Client, token: RefreshToken, address: str) -> None:
    """End the token's session, and with it every token of it, if the session is the client's (section 2.1)."""
    session = await db.get(Session, token.family, with_for_update=True)
    if session is not None and session.client_id == str(client.id) and session.ended_at is None:
        await ending.end_session(db, session, "revoked_by_client", address)


async def revoke_access_token(db: AsyncSession, client: Client, token: str, tokens: AccessTokens) -> None:
    """End this one token if it is the client's."""
    known = await tokens.verified(token)
    if known is not None and known.user.client_id == str(client.id):
        await revocations.end_token(db, known.user.token_id)
