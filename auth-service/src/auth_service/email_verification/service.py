"""The rules of verifying an address: the first account that verifies it keeps it.

Until then an address belongs to no account: any number of accounts may ask for it, none may use it to sign in.
"""

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account, by_email, find_account
from auth_service.accounts.service import flush
from auth_service.audit import service as audit
from auth_service.links import service as links
from auth_service.links.service import LinkInvalid
from auth_service.mails.service import Mails
from auth_service.settings import AuthSettings


async def send(db: AsyncSession, account: Account, mails: Mails, settings: AuthSettings) -> None:
    """Mail a link to the account's unverified address; to one that another account has verified, a notice instead.

    The work is the same, so the caller cannot distinguish the two cases. Does nothing without an unverified address.
    """
    address = account.unverified_email
    if address is None:
        return
    token = await links.make(db, account.id, "verify_email", address, settings.links.verify_ttl_s)
    owner = await by_email(db, address)
    if owner is None:
        link = settings.page(f"verify-email?token={token}")
        hours = settings.links.verify_ttl_s // 3600
        mails.queue(db, "verify_email", address, username=account.username, link=link, hours=hours)
    else:
        mails.queue(
            db, "address_in_use", owner.email or "", username=owner.username, link=settings.page("password/reset")
        )


async def verify(db: AsyncSession, token: str, mails: Mails, client_address: str) -> Account:
    """Give the account the address that the link was mailed to. Raises LinkInvalid, EmailTaken.

    Accounts that only asked for the address lose it, and the account's former address is notified.
    """
    link = await links.find(db, token, "verify_email")
    # One verification of an address at a time: the row of each account that asked for it is written.
    await db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(link.email.lower(), 0))))
    link, account = await links.spend_with_account(db, token, "verify_email")
    if account is None or account.status != ACTIVE or account.unverified_email != link.email:
        raise LinkInvalid
    former, account.email, account.unverified_email = account.email, link.email, None
    await flush(db)
    await _take_from_others(db, account.id, link.email)
    audit.record(db, "email_verified", account_id=account.id, address=client_address)
    if former is not None and former.lower() != link.email.lower():
        mails.queue(db, "email_changed", former, username=account.username)
    return account


async def has_verified(db: AsyncSession, account_id: UUID, email: str) -> bool:
    """Whether the address is the active account's, verified or trusted as it was typed (`emails_are_verified`)."""
    account = await find_account(db, account_id)
    return account is not None and account.status == ACTIVE and (account.email or "").lower() == email.lower()


async def _take_from_others(db: AsyncSession, account_id: UUID, email: str) -> None:
    others = (func.lower(Account.unverified_email) == func.lower(email), Account.id != account_id)
    await db.execute(update(Account).where(*others).values(unverified_email=None))
