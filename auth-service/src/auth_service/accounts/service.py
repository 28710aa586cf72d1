"""Accounts in the database: taken down as pending, activated, or given up and forgotten."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.events import AccountRegistered
from auth_service.accounts.models import ACTIVE, EMAIL_KEY, ENDING, PENDING, USERNAME_KEY, Account, by_identifier
from auth_service.accounts.schemas import TenantIn
from auth_service.audit import service as audit
from auth_service.memberships import service as memberships
from auth_service.memberships.authority import MembershipReply
from shared.data.errors import violates
from shared.events import outbox
from shared.ids import new_id
from shared.problems import Conflict, FieldError, Forbidden, InvalidInput, ServiceUnavailable


class UsernameTaken(Conflict):
    """Somebody has this username already; upper and lower case count as the same."""

    status, title = 409, "The username is taken"
    remedy = "Choose another username."


class EmailTaken(Conflict):
    """There is an account with this email already; upper and lower case count as the same."""

    status, title = 409, "The email has an account already"
    remedy = "Sign in, or register with another email."


class SlugTaken(Conflict):
    """Another tenant has this slug."""

    status, title = 409, "The slug is taken"
    remedy = "Choose another slug."


class SlugReserved(InvalidInput):
    """The slug is one of the names that the fleet keeps for itself."""

    status, title = 422, "The slug is reserved"
    remedy = "Choose another slug."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("Is reserved.", "slug_reserved", "#/tenant/slug")])


class RegistrationClosed(Forbidden):
    """This fleet does not let people register themselves."""

    status, title = 403, "Registration is closed"
    remedy = "Ask an operator of this fleet for an account."


class TenantRegistrationClosed(Forbidden):
    """Tenants of this fleet are made by its operators."""

    status, title = 403, "New tenants are made by operators"
    remedy = "Register without a tenant, or ask an operator for one."


class RegistrationUnfinished(ServiceUnavailable):
    """The account is taken down, but the service that keeps tenants and profiles does not answer yet."""

    status, title = 503, "The registration is not finished yet"
    remedy = "Register again with the same username and password to finish it; it is kept for an hour."


async def give_up_over(db: AsyncSession, ttl_s: int) -> Sequence[UUID]:
    """Give up the registrations that were not finished in time; every account that is to be forgotten by now."""
    over = (Account.status == PENDING, Account.created_at < func.now() - timedelta(seconds=ttl_s))
    await db.execute(update(Account).where(*over).values(status=ENDING))
    return (await db.scalars(select(Account.id).where(Account.status == ENDING).order_by(Account.created_at))).all()


async def in_the_way(db: AsyncSession, *, username: str, email: str, ttl_s: int) -> Sequence[UUID]:
    """Of the accounts that are to be forgotten, those that hold this username or email."""
    same = or_(func.lower(Account.username) == func.lower(username), func.lower(Account.email) == func.lower(email))
    over = Account.created_at < func.now() - timedelta(seconds=ttl_s)
    await db.execute(update(Account).where(same, Account.status == PENDING, over).values(status=ENDING))
    return (await db.scalars(select(Account.id).where(same, Account.status == ENDING))).all()


async def find_pending(db: AsyncSession, username: str) -> Account | None:
    """The unfinished registration of that username; None where there is none. Raises UsernameTaken."""
    account = await by_identifier(db, username)
    if account is not None and account.status != PENDING:
        raise UsernameTaken
    return account


async def add_pending(
    db: AsyncSession, *, username: str, email: str, password_hash: str, tenant: TenantIn | None
) -> Account:
    """Take the account down as pending. Raises UsernameTaken, EmailTaken."""
    account = Account(id=new_id(), username=username, email=email, password_hash=password_hash, status=PENDING)
    if tenant is not None:
        account.pending_tenant_id = new_id()
        account.pending_tenant_slug, account.pending_tenant_name = tenant.slug, tenant.name
    db.add(account)
    await _flush(db)
    return account


async def resume_pending(db: AsyncSession, account_id: UUID, *, email: str) -> Account | None:
    """The pending account as it goes on; None where it was finished or given up meanwhile. Raises EmailTaken."""
    account = await db.get(Account, account_id, with_for_update=True)
    if account is None or account.status != PENDING:
        return None
    account.email = email
    await _flush(db)
    return account


async def activate(db: AsyncSession, account_id: UUID, membership: MembershipReply | None, address: str) -> Account:
    """Let the account sign in; once, however many requests finish it.

    Raises RegistrationUnfinished where it was given up meanwhile.
    """
    account = await db.get(Account, account_id, with_for_update=True)
    if account is None or account.status == ENDING:
        raise RegistrationUnfinished
    if membership is not None:
        await memberships.store_reply(db, membership)
    if account.status == PENDING:
        _make_active(db, account, membership.tenant.id if membership else None, address)
    return account


async def recover(db: AsyncSession, account_id: UUID) -> None:
    """Make an account that was given up active all the same; its memberships are asked for at the next sign-in."""
    account = await db.get(Account, account_id, with_for_update=True)
    if account is not None and account.status == ENDING:
        _make_active(db, account, None, None)


async def give_up(db: AsyncSession, account_id: UUID) -> bool:
    """Decide that a pending account never becomes active; False where it is already, or is gone."""
    given_up = update(Account).where(Account.id == account_id, Account.status.in_((PENDING, ENDING)))
    return await db.scalar(given_up.values(status=ENDING).returning(Account.id)) is not None


async def forget(db: AsyncSession, account_id: UUID) -> None:
    """Let go of an account that was given up, so that its names are free again."""
    await db.execute(delete(Account).where(Account.id == account_id, Account.status == ENDING))


async def set_password_hash(db: AsyncSession, account_id: UUID, old_hash: str, new_hash: str) -> None:
    """Store the same password's newer hash, unless the password was changed meanwhile."""
    unchanged = (Account.id == account_id, Account.password_hash == old_hash)
    await db.execute(update(Account).where(*unchanged).values(password_hash=new_hash))


def _make_active(db: AsyncSession, account: Account, tenant_id: UUID | None, address: str | None) -> None:
    account.status, account.last_tenant_id = ACTIVE, tenant_id
    account.pending_tenant_id = account.pending_tenant_slug = account.pending_tenant_name = None
    outbox.add(db, AccountRegistered(subject=account.id, tenant_id=tenant_id, username=account.username))
    audit.record(db, "account_registered", account_id=account.id, tenant_id=tenant_id, address=address)


async def _flush(db: AsyncSession) -> None:
    try:
        await db.flush()
    except IntegrityError as error:
        if violates(error, USERNAME_KEY):
            raise UsernameTaken from None
        if violates(error, EMAIL_KEY):
            raise EmailTaken from None
        raise
