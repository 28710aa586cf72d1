"""The rules of a registration: an account is stored as pending, then activated, or abandoned and deleted."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, DEACTIVATED, ENDING, PENDING, Account, by_identifier, lock_account
from auth_service.accounts.service import UsernameTaken, flush
from auth_service.audit import service as audit
from auth_service.email_verification import service as email_verification
from auth_service.mails.service import Mails
from auth_service.memberships import service as memberships
from auth_service.memberships.users_api import MembershipReply
from auth_service.registration.events import AccountRegistered
from auth_service.registration.schemas import TenantIn
from auth_service.settings import AuthSettings
from shared.events import outbox
from shared.field_errors import FieldRule
from shared.ids import new_id
from shared.problems import Conflict, Forbidden, InvalidInput, ServiceUnavailable

SLUG_RESERVED = FieldRule("slug_reserved", "Must not be a reserved name.")


class SlugTaken(Conflict):
    """Another tenant has this slug."""

    status, title = 409, "The slug is taken"
    remedy = "Choose another slug."


class SlugReserved(InvalidInput):
    """The slug is one of the names that the fleet reserves."""

    status, title = 422, "The slug is reserved"
    remedy = "Choose another slug."

    def __init__(self) -> None:
        super().__init__(errors=[SLUG_RESERVED.at("#/tenant/slug")])


class RegistrationClosed(Forbidden):
    """This fleet does not accept registrations."""

    status, title = 403, "Registration is closed"
    remedy = "Ask an operator of this fleet for an account."


class TenantRegistrationClosed(Forbidden):
    """Only the operators of this fleet create tenants."""

    status, title = 403, "Only operators create tenants"
    remedy = "Register without a tenant, or ask an operator for one."


class RegistrationUnfinished(ServiceUnavailable):
    """The account is stored, but users-service, which owns tenants and profiles, does not respond yet."""

    status, title = 503, "The registration is not finished yet"
    remedy = "Register again with the same username and password to finish it, within an hour."


async def abandon_overdue(db: AsyncSession, ttl_s: int) -> Sequence[UUID]:
    """Abandon the registrations that were not finished in time; returns every account that is to be deleted now."""
    over = (Account.status == PENDING, Account.created_at < func.now() - timedelta(seconds=ttl_s))
    await db.execute(update(Account).where(*over).values(status=ENDING))
    return (await db.scalars(select(Account.id).where(Account.status == ENDING).order_by(Account.created_at))).all()


async def abandon_expired_with(db: AsyncSession, *, username: str, email: str, ttl_s: int) -> Sequence[UUID]:
    """Of the accounts that are to be deleted, those with this username or email."""
    same = or_(func.lower(Account.username) == func.lower(username), func.lower(Account.email) == func.lower(email))
    over = Account.created_at < func.now() - timedelta(seconds=ttl_s)
    await db.execute(update(Account).where(same, Account.status == PENDING, over).values(status=ENDING))
    return (await db.scalars(select(Account.id).where(same, Account.status == ENDING))).all()


async def find_pending(db: AsyncSession, username: str) -> Account | None:
    """The unfinished registration of that username; None if there is none. Raises UsernameTaken."""
    account = await by_identifier(db, username)
    if account is not None and account.status != PENDING:
        raise UsernameTaken
    return account


async def is_there(db: AsyncSession, username: str, email: str) -> bool:
    """Whether an active or deactivated account has this username and this email, verified or not."""
    account = await by_identifier(db, username)
    if account is None or account.status not in (ACTIVE, DEACTIVATED):
        return False
    return (account.email or account.unverified_email or "").casefold() == email.casefold()


async def add_pending(
    db: AsyncSession,
    *,
    username: str,
    email: str | None,
    trusted: bool,
    password_hash: str,
    tenant: TenantIn | None,
    joins: UUID | None = None,
) -> Account:
    """Store the account as pending; a `trusted` email needs no verification.

    It brings the new `tenant`, or joins the one with the id `joins`, or the default one. Raises UsernameTaken,
    EmailTaken.
    """
    account = Account(id=new_id(), username=username, password_hash=password_hash, status=PENDING)
    _set_email(account, email, trusted=trusted)
    account.pending_tenant_id = joins
    if tenant is not None:
        account.pending_tenant_id = new_id()
        account.pending_tenant_slug, account.pending_tenant_name = tenant.slug, tenant.name
    db.add(account)
    await flush(db)
    return account


async def resume_pending(db: AsyncSession, account_id: UUID, *, email: str, trusted: bool) -> Account | None:
    """The pending account, to be finished; None if it was finished or abandoned meanwhile. Raises EmailTaken."""
    account = await lock_account(db, account_id)
    if account is None or account.status != PENDING:
        return None
    _set_email(account, email, trusted=trusted)
    await flush(db)
    return account


async def activate(
    db: AsyncSession,
    account_id: UUID,
    membership: MembershipReply | None,
    *,
    mails: Mails,
    settings: AuthSettings,
    address: str,
) -> Account:
    """Activate the account; once, however many requests finish it. An unverified email is sent its link.

    Raises RegistrationUnfinished if it was abandoned meanwhile.
    """
    account = await lock_account(db, account_id)
    if account is None or account.status == ENDING:
        raise RegistrationUnfinished
    if membership is not None:
        await memberships.store_reply(db, membership)
    if account.status == PENDING:
        _make_active(db, account, membership.tenant.id if membership else None, address)
        await email_verification.send(db, account, mails, settings)
    return account


async def recover(db: AsyncSession, account_id: UUID) -> None:
    """Activate an abandoned account after all; its memberships are read at the next sign-in."""
    account = await lock_account(db, account_id)
    if account is not None and account.status == ENDING:
        _make_active(db, account, None, None)


async def abandon(db: AsyncSession, account_id: UUID) -> bool:
    """Decide that a pending account never becomes active; False if it is active or deleted already."""
    abandoned = update(Account).where(Account.id == account_id, Account.status.in_((PENDING, ENDING)))
    return await db.scalar(abandoned.values(status=ENDING).returning(Account.id)) is not None


async def delete_abandoned(db: AsyncSession, account_id: UUID) -> None:
    """Delete an abandoned account, so that its names are free again."""
    await db.execute(delete(Account).where(Account.id == account_id, Account.status == ENDING))


def _set_email(account: Account, email: str | None, *, trusted: bool) -> None:
    account.email, account.unverified_email = (email, None) if trusted else (None, email)


def _make_active(db: AsyncSession, account: Account, tenant_id: UUID | None, address: str | None) -> None:
    account.status, account.last_tenant_id = ACTIVE, tenant_id
    account.pending_tenant_id = account.pending_tenant_slug = account.pending_tenant_name = None
    outbox.add(db, AccountRegistered(subject=account.id, tenant_id=tenant_id, username=account.username))
    audit.record(db, "account_registered", account_id=account.id, tenant_id=tenant_id, address=address)
