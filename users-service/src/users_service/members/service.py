"""The members of a tenant: listing them; granting, changing and ending memberships."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Select, Text, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import outbox
from shared.identity.principal import Principal, check_not_impersonated
from shared.identity.scopes import scopes_of
from shared.problems import AllowWrite, Conflict, Forbidden, NotFound
from shared.web.paging import by_cursor
from users_service.follows import models as follows
from users_service.members.events import MembershipChanged, MembershipGranted, MembershipRevoked
from users_service.members.schemas import MemberQuery
from users_service.profiles import models as profiles
from users_service.tenants import models
from users_service.tenants import service as tenants
from users_service.tenants.models import LIVING, Membership, Person
from users_service.tenants.service import TenantNotFound

SORTABLE = {"created_at": Membership.created_at, "username": Membership.username}
OPERATOR = "system"


class PersonNotFound(NotFound):
    """No person in the fleet has this id."""

    status, title = 404, "No such person"


class MemberNotFound(NotFound):
    """The person is not a member of this tenant."""

    status, title = 404, "No such member"


class AlreadyMember(Conflict):
    """The person is a member of the tenant, or their membership is suspended: an invitation changes neither."""

    status, title = 409, "The person is a member already"
    remedy = "Sign in to the tenant. An admin changes a member's roles."


class MemberProtected(Forbidden):
    """Moderators suspend members, not each other or admins; operators of the fleet and the caller stay as they are."""

    status, title = 403, "This member cannot be suspended by the caller"
    remedy = "Ask an admin of the tenant."


class LastAdmin(Conflict):
    """The tenant's only active admin cannot be removed or lose the role: no one could add members again."""

    status, title = 409, "The tenant needs an admin"
    remedy = "Make another member admin first, and wait until they have accepted."


class TransferRefused(Conflict):
    """A tenant is handed over to another member who is active: not to the caller, nor to who has not accepted yet."""

    status, title = 409, "The tenant cannot be transferred to this person"
    remedy = "Name another member whose status is `active`."


async def page(db: AsyncSession, tenant_id: UUID, query: MemberQuery) -> tuple[Sequence[Membership], str | None]:
    """Members of any status except ended, by the list grammar."""
    rows = matching(tenant_id, query.status or LIVING, query.role, query.username)
    return await by_cursor(db, rows, query, SORTABLE, Membership.user_id)


def matching(
    tenant_id: UUID, statuses: Collection[str], roles: Collection[str], username: str | None
) -> Select[Membership]:
    """Memberships of one of these statuses, with one of these roles if there are any, and of this username if given."""
    rows = select(Membership).where(Membership.tenant_id == tenant_id, Membership.status.in_(statuses))
    if roles:
        rows = rows.where(Membership.roles.overlap(cast(roles, ARRAY(Text))))
    if username is not None:
        rows = rows.where(func.lower(Membership.username) == username.lower())
    return rows


async def read(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> Membership:
    """The membership, unless it has ended. Raises MemberNotFound."""
    membership = await models.find_membership(db, tenant_id, user_id)
    if membership is None or not membership.living:
        raise MemberNotFound
    return membership


async def grant(
    db: AsyncSession, user: Principal, tenant_id: UUID, user_id: UUID, roles: list[str], allow: AllowWrite
) -> tuple[Membership, bool]:
    """Add the person with these roles, or give a member these roles; True if they were not a member before.

    The person is `invited` until they name the tenant at a sign-in. The caller grants only roles whose scopes their
    token has itself, so that a narrowed token cannot widen anything.
    """
    caller = await tenants.authorize_tenant_write(db, user, tenant_id, "tenant:write")
    tenants.require(caller, scopes_of(roles))
    if (person := await db.get(Person, user_id)) is None:
        raise PersonNotFound
    membership = await models.find_membership(db, tenant_id, user_id)
    allow(membership.version if membership and membership.living else None)
    if membership is None:
        return await make(db, tenant_id, person.user_id, person.username, roles, status="invited"), True
    if not membership.living:
        membership.status, membership.roles = "invited", roles  # `ended_at` stays until the person accepts
        return await _changed(db, membership, MembershipGranted, ends_tokens=True), True
    if OPERATOR in membership.roles:  # a tenant can neither grant nor revoke it
        roles = sorted({*roles, OPERATOR})
    if membership.roles == roles:
        return membership, False
    if "admin" not in roles:
        await _keep_an_admin(db, membership)
    membership.roles = roles
    return await _changed(db, membership, MembershipChanged, ends_tokens=True), False


async def make_operator(db: AsyncSession, tenant_id: UUID, username: str, *, operator: bool) -> Membership:
    """Grant or revoke the role `system` of a member. Raises MemberNotFound."""
    await _lock_tenant(db, tenant_id)
    named = func.lower(Membership.username) == username.lower()
    membership = await db.scalar(select(Membership).where(Membership.tenant_id == tenant_id, named))
    if membership is None or not membership.living:
        raise MemberNotFound
    return await _set_operator(db, membership, operator=operator)


async def set_operator(db: AsyncSession, tenant_id: UUID, user_id: UUID, *, operator: bool) -> Membership:
    """The same for a member by their id; it is granted to an active member only. Raises MemberNotFound."""
    await _lock_tenant(db, tenant_id)
    membership = await read(db, tenant_id, user_id)
    if operator and membership.status != "active":
        raise MemberNotFound
    return await _set_operator(db, membership, operator=operator)


async def _set_operator(db: AsyncSession, membership: Membership, *, operator: bool) -> Membership:
    roles = sorted({*membership.roles, OPERATOR} if operator else {*membership.roles} - {OPERATOR})
    if roles == membership.roles:
        return membership
    membership.roles = roles
    return await _changed(db, membership, MembershipChanged, ends_tokens=True)


async def make(
    db: AsyncSession, tenant_id: UUID, user_id: UUID, username: str, roles: list[str], *, status: str
) -> Membership:
    """The person's first membership in the tenant, with its profile."""
    membership = Membership(
        tenant_id=tenant_id, user_id=user_id, username=username, roles=roles, status=status, version=1
    )
    db.add(membership)
    await profiles.make(db, tenant_id, user_id, username)
    await db.flush()
    await db.refresh(membership)
    outbox.add(db, MembershipGranted.of(membership))
    return membership


def scope_to_end(user: Principal, tenant_id: UUID, user_id: UUID) -> str:
    """The scope that ends this membership; the person's own needs less. Raises ImpersonationRefused for that."""
    if (tenant_id, user_id) != (user.tenant_id, user.user_id):
        return "tenant:write"
    check_not_impersonated(user)
    return "profile:write" if "profile:write" in user.scopes else "tenant:write"


async def end(db: AsyncSession, user: Principal, tenant_id: UUID, user_id: UUID, allow: AllowWrite) -> None:
    """End the membership; the account and the profile stay. Raises MemberNotFound, LastAdmin."""
    await tenants.authorize_tenant_write(db, user, tenant_id, scope_to_end(user, tenant_id, user_id))
    membership = await read(db, tenant_id, user_id)
    allow(membership.version)
    await _keep_an_admin(db, membership)
    membership.status, membership.ended_at = "ended", func.now()
    await _changed(db, membership, MembershipRevoked, ends_tokens=True)


async def suspend(db: AsyncSession, caller: Principal, tenant_id: UUID, user_id: UUID) -> Membership:
    """Suspend an active member: their tokens in the tenant end. Call it with the tenant's row locked.

    Raises MemberNotFound, MemberProtected, LastAdmin.
    """
    membership = await read(db, tenant_id, user_id)
    if membership.status == "invited":
        raise MemberNotFound
    staff = {"admin", "moderator"} & set(membership.roles)
    if user_id == caller.user_id or OPERATOR in membership.roles or (staff and "user:write" not in caller.scopes):
        raise MemberProtected
    if membership.status == "suspended":
        return membership
    await _keep_an_admin(db, membership)
    membership.status = "suspended"
    return await _changed(db, membership, MembershipChanged, ends_tokens=True)


async def transfer(db: AsyncSession, user: Principal, tenant_id: UUID, user_id: UUID) -> Membership:
    """Make another active member admin and the caller a user; the new admin. Raises MemberNotFound, TransferRefused."""
    caller = await tenants.authorize_tenant_write(db, user, tenant_id, "tenant:write")
    tenants.require(caller, scopes_of(["admin"]))
    former, successor = await read(db, tenant_id, caller.user_id), await read(db, tenant_id, user_id)
    if successor is former or successor.status != "active":
        raise TransferRefused
    await _set_roles(db, successor, {*successor.roles, "admin"} - {"user"})
    await _set_roles(db, former, {"user"} | ({OPERATOR} & set(former.roles)))
    return successor


async def _set_roles(db: AsyncSession, membership: Membership, roles: set[str]) -> None:
    if membership.roles != sorted(roles):
        membership.roles = sorted(roles)
        await _changed(db, membership, MembershipChanged, ends_tokens=True)


async def accept(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> Membership:
    """The person named the tenant: an invited membership becomes active; any other stays as it is."""
    await _lock_tenant(db, tenant_id)
    membership = await read(db, tenant_id, user_id)
    if membership.status != "invited":
        return membership
    ended_before = membership.ended_at is not None
    membership.status, membership.ended_at = "active", None
    return await _changed(db, membership, MembershipChanged, ends_tokens=ended_before)


async def join(db: AsyncSession, tenant_id: UUID, person: Person, roles: list[str]) -> Membership:
    """Make the person an active member with these roles; call it with the tenant's row locked. Raises AlreadyMember.

    A member who was only invited becomes active with these roles, and an ended membership is taken up again.
    """
    membership = await models.find_membership(db, tenant_id, person.user_id)
    if membership is None:
        return await make(db, tenant_id, person.user_id, person.username, roles, status="active")
    if membership.status in ("active", "suspended"):
        raise AlreadyMember
    if membership.living and OPERATOR in membership.roles:
        roles = sorted({*roles, OPERATOR})
    event = MembershipChanged if membership.living else MembershipGranted
    ended_before = membership.ended_at is not None
    membership.status, membership.roles, membership.ended_at = "active", roles, None
    return await _changed(db, membership, event, ends_tokens=ended_before)


async def _lock_tenant(db: AsyncSession, tenant_id: UUID) -> None:
    if await models.lock_tenant(db, tenant_id) is None:
        raise TenantNotFound


async def _keep_an_admin(db: AsyncSession, membership: Membership) -> None:
    """Raises LastAdmin if this is the tenant's only active admin."""
    counts = membership.status == "active" and "admin" in membership.roles
    if counts and not await models.has_other_admin(db, membership):
        raise LastAdmin


async def _changed(
    db: AsyncSession,
    membership: Membership,
    event: type[MembershipGranted | MembershipChanged | MembershipRevoked],
    *,
    ends_tokens: bool,
) -> Membership:
    membership.version += 1
    if membership.status != "active":
        await follows.erase(db, membership.tenant_id, membership.user_id)
    if ends_tokens:
        membership.changed_at = func.clock_timestamp()
    await db.flush()
    await db.refresh(membership)
    outbox.add(db, event.of(membership))
    return membership
