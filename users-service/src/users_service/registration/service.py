"""The part of a registration that belongs here: the person, their tenant or membership, and their profile.

auth-service calls before it activates the account, and repeats a call that got no answer, so a repeat changes nothing.
A registration whose account never becomes active is undone: its rows are deleted, and a late call for it creates
nothing. `account.registered.v1` reports that the account is active.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.database import enter_tenant
from shared.events import outbox
from shared.field_errors import FieldRule
from shared.identity.principal import Principal
from shared.ids import new_id
from shared.problems import Conflict, Forbidden, InvalidInput
from users_service.follows import models as follows
from users_service.members import service as members
from users_service.members.events import MembershipRevoked
from users_service.profiles import models as profiles
from users_service.registration.models import EndedRegistration, has_others, put_person
from users_service.registration.schemas import NewTenant, RegistrationIn, TenantIn
from users_service.settings import UsersSettings
from users_service.tenants import models
from users_service.tenants import service as tenants
from users_service.tenants.demo_tenant import is_demo
from users_service.tenants.events import TenantCreated, TenantErased
from users_service.tenants.models import Membership, Person, Tenant
from users_service.tenants.service import TenantNotFound

# Names that a tenant's subdomain would take from the fleet itself, or that would pass for its operators.
RESERVED: Final = frozenset(
    """
    about account accounts admin administrator api app apps assets auth billing blog cdn chat config console contact
    dashboard default dev docs email flotilla ftp gateway graphql health help images imap internal login logout mail
    mcp media metrics news oauth oauth2 openid operator ops ping pop problems public register root security signin
    signup smtp sso staging static status support system tasks tenant tenants test users webhook webhooks well-known
    ws www
    """.split()  # noqa: SIM905 - a block of words can be read; ninety quoted ones cannot
)


ENDED_KEPT = timedelta(days=1)  # longer than any call takes


SLUG_RESERVED = FieldRule("slug_reserved", "Must not be a reserved name.")


class RegistrationEnded(Conflict):
    """This registration was undone. A new one has another id."""

    status, title = 409, "The registration has ended"
    remedy = "Register again."


class RegistrationConfirmed(Conflict):
    """The account of this registration is active, so it can no longer be undone."""

    status, title = 409, "The registration is finished"
    remedy = "End the person's memberships instead."


class SlugTaken(Conflict):
    """Another tenant has this slug."""

    status, title = 409, "The slug is taken"
    remedy = "Choose another slug."


class SlugReserved(InvalidInput):
    """The slug is one of the names that the fleet reserves."""

    status, title = 422, "The slug is reserved"
    remedy = "Choose another slug."


class TenantCreationClosed(Forbidden):
    """The settings of this fleet let operators alone create tenants."""

    status, title = 403, "Only operators create tenants"
    remedy = "Ask an operator for a tenant."


def check_slug(slug: str, pointer: str, *, development: bool) -> None:
    """Raises SlugReserved; the demo tenant's is allowed in development only. `pointer` is where the slug was sent."""
    if slug in RESERVED or (is_demo(slug) and not development):
        raise SlugReserved(errors=[SLUG_RESERVED.at(pointer)])


async def create_tenant(db: AsyncSession, user: Principal, wanted: TenantIn, settings: UsersSettings) -> Tenant:
    """Create a tenant beside the one of the caller's session; the caller is its first admin.

    The transaction goes on as the new tenant. Raises TenantCreationClosed, SlugTaken, SlugReserved.
    """
    check_slug(wanted.slug, "#/slug", development=settings.development)
    caller = await tenants.authorize_write(db, user, "profile:write")
    if not settings.people_may_create_tenants and "system:write" not in caller.scopes:
        raise TenantCreationClosed
    new = NewTenant(id=new_id(), name=wanted.name, slug=wanted.slug)
    await enter_tenant(db, new.id)
    await _make_tenant(db, new)
    await members.make(db, new.id, caller.user_id, caller.username, ["admin"], status="active")
    return await tenants.read(db, new.id)


async def register(
    db: AsyncSession, user_id: UUID, registration: RegistrationIn, tenant_id: UUID | None
) -> Membership | None:
    """Create the person and their membership in `tenant_id`: admin of their new tenant, user of any other.

    None if there is no tenant for them. Raises SlugTaken, RegistrationEnded, TenantNotFound.
    """
    await _serialize(db, user_id)
    if await db.get(EndedRegistration, user_id) is not None:
        raise RegistrationEnded
    await put_person(db, user_id, registration.username)
    if tenant_id is None:
        return None
    if registration.tenant is not None:
        await _make_tenant(db, registration.tenant)
    elif await models.lock_tenant(db, tenant_id) is None:
        raise TenantNotFound
    membership = await models.find_membership(db, tenant_id, user_id)
    if membership is not None:
        return membership if membership.living else None
    roles = ["user"] if registration.tenant is None else ["admin"]
    name = registration.username
    await profiles.make(
        db, tenant_id, user_id, name, birth_date=registration.birth_date, newsletter=registration.newsletter
    )
    return await members.make(db, tenant_id, user_id, name, roles, status="active")


async def confirm(db: AsyncSession, user_id: UUID) -> None:
    """The account is active: its registration can no longer be undone."""
    unconfirmed = (Person.user_id == user_id, Person.confirmed_at.is_(None))
    await db.execute(update(Person).where(*unconfirmed).values(confirmed_at=func.now()))


async def end(db: AsyncSession, user_id: UUID) -> None:
    """From here on nothing is created for this registration. Raises RegistrationConfirmed."""
    await _serialize(db, user_id)
    person = await db.get(Person, user_id)
    if person is not None and person.confirmed_at is not None:
        raise RegistrationConfirmed
    await db.execute(delete(EndedRegistration).where(EndedRegistration.ended_at < func.now() - ENDED_KEPT))
    await db.execute(insert(EndedRegistration).values(user_id=user_id).on_conflict_do_nothing())


async def withdraw(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> None:
    """Remove the person from the tenant as if they had never been in it, and the tenant if they created it."""
    tenant = await models.lock_tenant(db, tenant_id)
    membership = await models.find_membership(db, tenant_id, user_id)
    if tenant is None or membership is None:
        return
    created_it = "admin" in membership.roles and not await has_others(db, membership)
    membership.version, membership.status = membership.version + 1, "ended"
    outbox.add(db, MembershipRevoked.of(membership))
    await profiles.erase(db, tenant_id, user_id)
    await follows.erase(db, tenant_id, user_id)
    await db.delete(membership)
    if created_it:
        tenant.version += 1
        outbox.add(db, TenantErased.of(tenant))
        await db.delete(tenant)
    await db.flush()  # while the transaction is still this tenant's


async def delete_person(db: AsyncSession, user_id: UUID) -> None:
    await db.execute(delete(Person).where(Person.user_id == user_id))


async def _serialize(db: AsyncSession, user_id: UUID) -> None:
    """Serialize the calls for one registration."""
    await db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"registration {user_id}", 0))))


async def _make_tenant(db: AsyncSession, new: NewTenant) -> None:
    """Create the tenant unless an earlier call did; on return its row is locked."""
    row = insert(Tenant).values(tenant_id=new.id, slug=new.slug, name=new.name)
    made = await db.scalar(row.on_conflict_do_nothing().returning(Tenant.tenant_id))
    tenant = await models.lock_tenant(db, new.id)
    if tenant is None:  # the slug is in another tenant's row, which this transaction cannot see
        raise SlugTaken
    if made is not None:
        outbox.add(db, TenantCreated.of(tenant))
