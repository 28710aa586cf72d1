"""Making links and spending them. Only a token's hash is stored, so a copy of the database opens no account."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Account, lock_account
from auth_service.links.models import Link
from shared.problems import Problem

Purpose = Literal["verify_email", "reset_password", "sign_in", "reactivate", "operator"]

_TOKEN_BYTES: Final = 32


class LinkInvalid(Problem):
    """The link is wrong, was used before, has expired, or was replaced by a newer one."""

    status, title = 400, "The link is not valid"
    remedy = "Ask for a new link."


async def make(
    db: AsyncSession, account_id: UUID | None, purpose: Purpose, email: str, ttl_s: int, *, browser: bytes | None = None
) -> str:
    """The token of a new link, valid for `ttl_s` seconds. Earlier ones stay valid: mails arrive in any order.

    With `browser`, the hash of a cookie, it is for that browser.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    expires_at = func.now() + timedelta(seconds=ttl_s)
    link = Link(digest=_digest(token), account_id=account_id, purpose=purpose, email=email, expires_at=expires_at)
    link.browser = browser
    db.add(link)
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


async def hold(db: AsyncSession, token: str, purpose: Purpose) -> Link:
    """The valid link, locked until the transaction ends; the caller deletes it.

    Raises LinkInvalid, also while another request holds it.
    """
    link = await db.scalar(select(Link).where(*_valid(token, purpose)).with_for_update(skip_locked=True))
    if link is None:
        raise LinkInvalid
    return link


async def spend_with_account(db: AsyncSession, token: str, purpose: Purpose) -> tuple[Link, Account | None]:
    """The link, which is deleted, and the account that it is for, locked before. Raises LinkInvalid."""
    link = await find(db, token, purpose)
    account = await lock_account(db, link.account_id) if link.account_id else None
    return await spend(db, token, purpose), account


async def of_browser(db: AsyncSession, browser: bytes, purpose: Purpose) -> Sequence[Link]:
    """The valid links for a browser, the newest first, and their accounts, locked until the transaction ends."""
    rows = select(Link).where(Link.browser == browser, Link.purpose == purpose, Link.expires_at > func.now())
    theirs = select(Account.id).where(Account.id.in_(rows.with_only_columns(Link.account_id)))
    await db.execute(theirs.order_by(Account.id).with_for_update())
    return (await db.scalars(rows.order_by(Link.created_at.desc()).with_for_update())).all()


async def forget(db: AsyncSession, account_id: UUID, purpose: Purpose) -> None:
    """Make the account's outstanding links for the purpose invalid."""
    await db.execute(delete(Link).where(Link.account_id == account_id, Link.purpose == purpose))


async def forget_address(db: AsyncSession, email: str, purpose: Purpose) -> None:
    """Make the outstanding links for the purpose that were mailed to the address invalid."""
    await db.execute(delete(Link).where(func.lower(Link.email) == func.lower(email), Link.purpose == purpose))


async def prune(db: AsyncSession) -> None:
    """Delete expired links."""
    await db.execute(delete(Link).where(Link.expires_at < func.now()))


def _valid(token: str, purpose: Purpose) -> tuple[ColumnElement[bool], ...]:
    return Link.digest == _digest(token), Link.purpose == purpose, Link.expires_at > func.now()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
