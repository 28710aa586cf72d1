"""Accounts in the database: found, taken up as pending, activated, given up."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.events import AccountRegistered
from auth_service.accounts.models import ACTIVE, EMAIL_KEY, PENDING, USERNAME_KEY, Account, by_identifier
from auth_service.audit import service as audit
from auth_service.memberships import service as memberships
from auth_service.memberships.authority import MembershipReply
from shared.data.faults import violates
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


async def find_pending(db: AsyncSession, username: str, ttl_s: int) -> Account | None:
    """The unfinished registration of that username; None where there is none any more. Raises UsernameTaken."""
    account = await by_identifier(db, username)
    if account is None:
        return None
    if account.status != PENDING:
        raise UsernameTaken
    return None if await _is_over(db, account.id, ttl_s) else account


async def add_pending(
    db: AsyncSession, *, username: str, email: str, password_hash: str, with_tenant: bool, ttl_s: int
) -> Account:
    """Take the account down as pending, in the place of one that was never finished.

    Raises UsernameTaken, EmailTaken.
    """
    same = or_(func.lower(Account.username) == func.lower(username), func.lower(Account.email) == func.lower(email))
    await db.execute(delete(Account).where(same, *_over(ttl_s)))
    account = Account(
        id=new_id(),
        username=username,
        email=email,
        password_hash=password_hash,
        status=PENDING,
        pending_tenant_id=new_id() if with_tenant else None,
    )
    db.add(account)
    await _flush(db)
    return account


async def resume_pending(db: AsyncSession, account_id: UUID, *, email: str, with_tenant: bool) -> Account | None:
    """The pending account as it goes on; None where it was finished or given up meanwhile. Raises EmailTaken."""
    account = await db.get(Account, account_id, with_for_update=True)
    if account is None or account.status != PENDING:
        return None
    account.email = email
    if with_tenant and account.pending_tenant_id is None:
        account.pending_tenant_id = new_id()
    await _flush(db)
    return account


async def activate(db: AsyncSession, account_id: UUID, membership: MembershipReply | None, address: str) -> Account:
    """Let the account sign in; once, however many requests finish it.

    Raises RegistrationUnfinished where it is gone.
    """
    account = await db.get(Account, account_id, with_for_update=True)
    if account is None:  # its hour ended while users-service was asked
        raise RegistrationUnfinished
    if membership is not None:
        await memberships.store_reply(db, membership)
    if account.status == PENDING:
        tenant_id = membership.tenant.id if membership else None
        account.status, account.pending_tenant_id, account.last_tenant_id = ACTIVE, None, tenant_id
        outbox.add(db, AccountRegistered(subject=account.id, tenant_id=tenant_id, username=account.username))
        audit.record(db, "account_registered", account_id=account.id, tenant_id=tenant_id, address=address)
    return account


async def give_up(db: AsyncSession, account_id: UUID) -> None:
    """Forget a pending account, so that its names are free again."""
    await db.execute(delete(Account).where(Account.id == account_id, Account.status == PENDING))


async def set_password_hash(db: AsyncSession, account_id: UUID, old_hash: str, new_hash: str) -> None:
    """Store the same password's newer hash, unless the password was changed meanwhile."""
    unchanged = (Account.id == account_id, Account.password_hash == old_hash)
    await db.execute(update(Account).where(*unchanged).values(password_hash=new_hash))


async def prune(db: AsyncSession, ttl_s: int) -> None:
    """End the registrations that were never finished."""
    await db.execute(delete(Account).where(*_over(ttl_s)))


def _over(ttl_s: int) -> tuple[ColumnElement[bool], ...]:
    return (Account.status == PENDING, Account.created_at < func.now() - timedelta(seconds=ttl_s))


async def _is_over(db: AsyncSession, account_id: UUID, ttl_s: int) -> bool:
    return bool(await db.scalar(select(exists().where(Account.id == account_id, *_over(ttl_s)))))


async def _flush(db: AsyncSession) -> None:
    try:
        await db.flush()
    except IntegrityError as error:
        if violates(error, USERNAME_KEY):
            raise UsernameTaken from None
        if violates(error, EMAIL_KEY):
            raise EmailTaken from None
        raise
