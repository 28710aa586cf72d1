"""Making links and spending them. Only a token's hash is stored, so a copy of the database opens no account."""

import hashlib
import secrets
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.links.models import Link
from shared.problems import Problem

Purpose = Literal["verify_email", "reset_password"]

_TOKEN_BYTES: Final = 32


class LinkInvalid(Problem):
    """The link is wrong, was used before, has expired, or was replaced by a newer one."""

    status, title = 400, "The link is not valid"
    remedy = "Ask for a new link."


async def make(db: AsyncSession, account_id: UUID | None, purpose: Purpose, email: str, ttl_s: int) -> str:
    """The token of a new link, valid for `ttl_s` seconds. Earlier ones stay valid: mails arrive in any order."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    expires_at = func.now() + timedelta(seconds=ttl_s)
    db.add(Link(digest=_digest(token), account_id=account_id, purpose=purpose, email=email, expires_at=expires_at))
    await db.flush()
    return token


async def find(db: AsyncSession, token: str, purpose: Purpose) -> Link:
    """The valid link with that token, not spent by this. Raises LinkInvalid."""
    link = await db.scalar(select(Link).where(*_valid(token, purpose)))
    if link is None:
        raise LinkInvalid
    return link


async def spend(db: AsyncSession, token: str, purpose: Purpose) -> Link:
    """The valid link with that token, which is deleted: of concurrent calls, one gets it. Raises LinkInvalid."""
    link: Link | None = await db.scalar(delete(Link).where(*_valid(token, purpose)).returning(Link))
    if link is None:
        raise LinkInvalid
    return link


async def forget(db: AsyncSession, account_id: UUID, purpose: Purpose) -> None:
    """Make the account's outstanding links for the purpose invalid."""
    await db.execute(delete(Link).where(Link.account_id == account_id, Link.purpose == purpose))


async def prune(db: AsyncSession) -> None:
    """Delete expired links."""
    await db.execute(delete(Link).where(Link.expires_at < func.now()))


def _valid(token: str, purpose: Purpose) -> tuple[ColumnElement[bool], ...]:
    return Link.digest == _digest(token), Link.purpose == purpose, Link.expires_at > func.now()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
