"""Making tickets and redeeming them."""

import hashlib
import secrets
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import delete, func, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.sessions.service import is_live
from auth_service.tickets.models import Ticket
from auth_service.tickets.schemas import TTL_S
from shared.identity import Principal
from shared.problems import InvalidToken

ONCE: Final = "/ws"  # a socket is opened once; a picture or a download may be asked for again, by ranges
_TICKET_BYTES: Final = 32


async def make(db: AsyncSession, user: Principal, path: str, public_url: str) -> str:
    """A ticket for GET on exactly `path`, as the caller is now. Only its hash is stored."""
    ticket = secrets.token_urlsafe(_TICKET_BYTES)
    db.add(
        Ticket(
            digest=_digest(ticket),
            account_id=user.user_id,
            path=path,
            claims=_claims(user, public_url),
            expires_at=func.now() + timedelta(seconds=TTL_S),
        )
    )
    await db.flush()
    return ticket


async def redeem(db: AsyncSession, ticket: str, path: str) -> dict[str, Any]:
    """The claims of the ticket's token. Raises InvalidToken if the ticket is unknown, used or expired.

    The row is found by the hash of all of it, so how long that takes says nothing about the ticket. At /ws one redeemer
    gets it, however many try at once.
    """
    spent = await db.execute(
        update(Ticket)
        .where(
            Ticket.digest == _digest(ticket),
            Ticket.path == path,
            Ticket.expires_at > func.now(),
            or_(Ticket.path != ONCE, Ticket.spent_at.is_(None)),
        )
        .values(spent_at=func.now())
        .returning(Ticket.claims)
    )
    claims: dict[str, Any] | None = spent.scalar_one_or_none()
    if claims is None or claims["exp"] <= time.time() or not await is_live(db, Principal.from_claims(claims)):
        raise InvalidToken("The ticket is wrong, spent or expired.")
    return claims


async def prune(db: AsyncSession) -> None:
    await db.execute(delete(Ticket).where(Ticket.expires_at < func.now()))


def _claims(user: Principal, public_url: str) -> dict[str, Any]:
    """As in the person's own access token; what only internal tokens carry stays out.

    An operator who impersonates the person is in `act` of both.
    """
    own = {name: value for name, value in replace(user, actor=None).to_claims().items() if name != "person_exp"}
    return {**own, "iss": public_url, "aud": public_url, "exp": user.expires_at}


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
