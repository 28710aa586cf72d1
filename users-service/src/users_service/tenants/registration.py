"""The part of a registration that is done here: the person, their tenant or their place in one, and their profile.

auth-service calls before it activates the account and repeats the call where it heard no answer, so a second one
changes nothing (docs/tour.md, step 1).
"""

from typing import Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import outbox
from shared.problems import Conflict, FieldError, InvalidInput
from users_service.tenants import members, models
from users_service.tenants.events import TenantCreated
from users_service.tenants.models import Membership, Tenant
from users_service.tenants.schemas import NewTenant, RegistrationIn

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


class SlugTaken(Conflict):
    """Another tenant has this slug."""

    status, title = 409, "The slug is taken"
    remedy = "Choose another slug."


class SlugReserved(InvalidInput):
    """The slug is one of the names that the fleet keeps for itself."""

    status, title = 422, "The slug is reserved"
    remedy = "Choose another slug."


def check_slug(slug: str) -> None:
    if slug in RESERVED:
        detail = "This name is reserved."
        raise SlugReserved(errors=[FieldError(detail, "slug_reserved", pointer="#/tenant/slug")])


async def register(
    db: AsyncSession, user_id: UUID, registration: RegistrationIn, tenant_id: UUID | None
) -> Membership | None:
    """Make the person and, in `tenant_id`, their membership: admin of a tenant of their own, user of the default one.

    None where there is no tenant to be in. Raises SlugTaken, SlugReserved.
    """
    await models.make_person(db, user_id, registration.username)
    if tenant_id is None:
        return None
    if registration.tenant is not None:
        await _make_tenant(db, registration.tenant)
    else:
        await models.lock_tenant(db, tenant_id)
    membership = await models.find_membership(db, tenant_id, user_id)
    if membership is not None:
        return membership if membership.living else None
    roles = ["user"] if registration.tenant is None else ["admin"]
    return await members.make(db, tenant_id, user_id, registration.username, roles, status="active")


async def _make_tenant(db: AsyncSession, new: NewTenant) -> None:
    """Make the tenant unless an earlier call did; on return its row is locked."""
    check_slug(new.slug)
    row = insert(Tenant).values(tenant_id=new.id, slug=new.slug, name=new.name)
    made = await db.scalar(row.on_conflict_do_nothing().returning(Tenant.tenant_id))
    tenant = await models.lock_tenant(db, new.id)
    if tenant is None:  # the other one that has the slug is another tenant's row, which nobody here can see
        raise SlugTaken
    if made is not None:
        outbox.add(db, TenantCreated.of(tenant))
