"""The rules of impersonation: who may, whom, and what ends it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account
from auth_service.audit import service as audit
from auth_service.memberships.models import ACTIVE as TENANT_ACTIVE
from auth_service.memberships.models import OPERATOR, Tenant, TenantMembership, find_membership
from auth_service.mfa.service import require_step_up
from auth_service.scopes.service import granted
from auth_service.sessions import ending
from auth_service.sessions import service as sessions
from auth_service.sessions.models import CLIENT_ID, Session
from auth_service.sessions.service import SESSION_ENDED
from auth_service.settings import AuthSettings
from auth_service.tenant_settings import lacks_second_factor
from shared.data.database import enter_tenant
from shared.identity import Principal
from shared.identity.authentication import AAL2
from shared.identity.principal import tenant_of
from shared.problems import Forbidden, InsufficientScope, InsufficientUserAuthentication, InvalidToken, NotFound

PERMISSION = "system:write"


class NotImpersonable(Forbidden):
    """The person is an operator of the fleet, in any tenant, or is the caller."""

    status, title = 403, "This person cannot be impersonated"
    remedy = "Ask the other operator to do it, or use your own session."


class PersonNotInTenant(NotFound):
    """The id is not of an active account with an active membership in the tenant."""

    status, title = 404, "No such person in this tenant"
    remedy = "Check `user_id` and `tenant` with GET /api/v1/tenants/{tenant_id}/members."


async def check_operator(db: AsyncSession, user: Principal) -> None:
    """Check that the caller is an operator now and has confirmed recently that it is them. `db` is in their tenant.

    What makes them one (account, session, membership, tenant) does not change until the transaction ends: what ends it
    then finds the impersonation, and ends it too. Raises InvalidToken, InsufficientScope,
    InsufficientUserAuthentication.
    """
    member = await find_membership(db, tenant_of(user), user.user_id, unchanged=True)
    await db.get(Account, user.user_id, with_for_update={"read": True})
    await db.execute(select(Session.id).where(Session.id == user.session_id).with_for_update(read=True))
    if user.session_id is None or not await sessions.is_live(db, user):
        raise InvalidToken(SESSION_ENDED)
    if member is None or not member.operates:
        raise InsufficientScope(scopes=[PERMISSION])
    await require_step_up(db, user)


def chosen(memberships: Sequence[TenantMembership], tenant: str) -> TenantMembership:
    """The membership that the tenant's slug or id names. Raises NotImpersonable, PersonNotInTenant."""
    if any(OPERATOR in member.membership.roles for member in memberships):
        raise NotImpersonable
    named = next((member for member in memberships if member.is_named(tenant)), None)
    if named is None:
        raise PersonNotInTenant
    return named


async def open_session(
    db: AsyncSession,
    operator: Principal,
    person: TenantMembership,
    settings: AuthSettings,
    *,
    reason: str,
    device: str | None,
    address: str,
) -> tuple[Session, Account, TenantMembership]:
    """Open the session in which the operator acts as the person. The transaction continues as the person's tenant.

    Raises PersonNotInTenant, NotImpersonable; InsufficientUserAuthentication if the tenant requires a second factor,
    and the operator has signed in without one.
    """
    tenant_id, account_id = person.tenant.id, person.membership.user_id
    await enter_tenant(db, tenant_id)
    member = await find_membership(db, tenant_id, account_id, unchanged=True)
    account = await db.get(Account, account_id, with_for_update={"key_share": True})
    if account is None or account.status != ACTIVE or member is None or not member.active:
        raise PersonNotInTenant
    if OPERATOR in member.membership.roles:
        raise NotImpersonable
    if lacks_second_factor(operator.amr, member.tenant, settings):
        raise InsufficientUserAuthentication(acr=AAL2)
    session = Session(
        account_id=account_id,
        tenant_id=tenant_id,
        client_id=CLIENT_ID,
        limited_to=sorted(granted(set(member.membership.roles) - {OPERATOR}, None)),
        amr=[],
        opened_by=operator.session_id,
        impersonator_id=operator.user_id,
        impersonation_reason=reason,
        device=device,
        address=address,
        generation=0,
    )
    db.add(session)
    await db.flush()
    audit.record(
        db,
        "impersonation_started",
        account_id=account_id,
        actor_id=operator.user_id,
        session_id=session.id,
        tenant_id=tenant_id,
        address=address,
        reason=reason,
    )
    return session, account, member


async def end_by_operator(db: AsyncSession, operator: Principal, address: str) -> int:
    """End all impersonations of the operator; returns the number."""
    return await ending.end_impersonations(
        db, "impersonation_ended", address, Session.impersonator_id == operator.user_id
    )


async def follow_membership(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> None:
    """End what a changed membership no longer allows: an operator's impersonations, and those of a new operator."""
    member = await find_membership(db, tenant_id, user_id)
    if member is None or not member.operates:
        await ending.end_impersonations_from(db, user_id, tenant_id)
    else:
        await ending.end_impersonations(db, "impersonation_ended", None, Session.account_id == user_id)


async def follow_tenant(db: AsyncSession, tenant_id: UUID) -> None:
    """End what a changed tenant no longer allows: the impersonations that its operators have opened from it."""
    tenant = await db.get(Tenant, tenant_id, populate_existing=True)
    if tenant is None or tenant.status != TENANT_ACTIVE:
        theirs = select(Session.id).where(Session.tenant_id == tenant_id)
        await ending.end_impersonations(db, "impersonation_ended", None, Session.opened_by.in_(theirs))
