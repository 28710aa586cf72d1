"""The rules of invitations: what a caller may offer, and who may accept it, once."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.email_addresses import domain_errors, mailable
from shared.field_errors import FieldRule
from shared.identity.principal import Principal
from shared.identity.scopes import scopes_of
from shared.ids import new_id
from shared.problems import Conflict, InvalidInput, NotFound, TooManyRequests
from shared.web.paging import ListQuery, by_cursor
from users_service.invitations import models
from users_service.invitations.models import Invitation
from users_service.invitations.schemas import InvitationIn
from users_service.invitations.tokens import InvitationToken
from users_service.members import service as members
from users_service.settings import InvitationSettings, UsersSettings
from users_service.tenants import models as tenant_models
from users_service.tenants import service as tenants
from users_service.tenants.models import Membership, Person, Tenant
from users_service.tenants.service import TenantNotFound

_SORTABLE = {"created_at": Invitation.created_at, "expires_at": Invitation.expires_at}
_NOT_MAILABLE = FieldRule("not_mailable", "Must be an address that mail can be sent to.")


class InvitationNotFound(NotFound):
    """No open invitation has this token or id, or it was sent to an address that the caller has not verified."""

    status, title = 404, "No such invitation"
    remedy = "Sign in with the account that has verified the invited address, or ask for another invitation."


class TooManyInvitations(Conflict):
    """The tenant has as many open invitations, with those of the last day, as it may have."""

    status, title = 409, "Too many invitations"
    remedy = "Withdraw invitations that are no longer needed, or invite further people tomorrow."


class InvitationMailsLimited(TooManyRequests):
    """The address was sent as many invitations as it may get in an hour."""

    status, title = 429, "Too many invitations to this address"
    remedy = "Wait for the seconds in `Retry-After`; the mails that were sent may be in the spam folder."


async def page(db: AsyncSession, tenant_id: UUID, query: ListQuery) -> tuple[Sequence[Invitation], str | None]:
    """The invitations that were neither accepted nor withdrawn, by the list grammar."""
    rows = select(Invitation).where(Invitation.tenant_id == tenant_id, Invitation.ended_at.is_(None))
    return await by_cursor(db, rows, query, _SORTABLE, Invitation.id)


def check_address(email: str, settings: UsersSettings) -> None:
    """Raises InvalidInput for an address that no mail can be sent to."""
    errors = [*domain_errors(email, settings, "#/email")]
    try:
        mailable(email)
    except ValueError:
        errors.append(_NOT_MAILABLE.at("#/email"))
    if errors:
        raise InvalidInput(errors=errors)


async def invite(
    db: AsyncSession, user: Principal, tenant_id: UUID, wanted: InvitationIn, limits: InvitationSettings
) -> tuple[Invitation, InvitationToken, Tenant]:
    """Store an invitation with roles whose scopes the caller holds. Raises TooManyInvitations, TenantNotFound."""
    caller = await tenants.authorize_tenant_write(db, user, tenant_id, "tenant:write")
    roles = [str(role) for role in wanted.roles]
    tenants.require(caller, scopes_of(roles))
    if await models.count_for_limit(db, tenant_id) >= limits.max_open:
        raise TooManyInvitations
    token = InvitationToken.new(tenant_id)
    invitation = Invitation(
        tenant_id=tenant_id,
        id=new_id(),
        email=wanted.email,
        roles=roles,
        token_hash=token.digest,
        invited_by=caller.user_id,
        expires_at=func.now() + timedelta(seconds=limits.ttl_s),
    )
    db.add(invitation)
    await db.flush()
    await db.refresh(invitation)
    return invitation, token, await tenants.read(db, tenant_id)


async def replace_earlier(db: AsyncSession, invitation: Invitation) -> None:
    """End the address's earlier invitations: the newest mail has the valid link."""
    earlier = (
        Invitation.tenant_id == invitation.tenant_id,
        func.lower(Invitation.email) == func.lower(invitation.email),
        Invitation.created_at < invitation.created_at,
        Invitation.ended_at.is_(None),
    )
    await db.execute(update(Invitation).where(*earlier).values(ended_at=func.now(), email=None))


async def withdraw(db: AsyncSession, user: Principal, tenant_id: UUID, invitation_id: UUID) -> None:
    """End the invitation: its link is of no use any more. Raises InvitationNotFound."""
    await tenants.authorize_tenant_write(db, user, tenant_id, "tenant:write")
    invitation = await models.find(db, tenant_id, invitation_id)
    if invitation is None:
        raise InvitationNotFound
    _end(invitation)


async def find(db: AsyncSession, token: InvitationToken) -> tuple[Invitation, Tenant]:
    """The open invitation with this token, and its tenant. Raises InvitationNotFound."""
    invitation = await models.find_open(db, token.tenant_id, token.digest)
    if invitation is None or not await _counts(db, invitation):
        raise InvitationNotFound
    tenant = await tenants.read(db, token.tenant_id)
    if tenant.status != "active":
        raise InvitationNotFound
    return invitation, tenant


async def accept_own(db: AsyncSession, user: Principal, token: InvitationToken) -> tuple[Membership, Tenant]:
    """`accept` for a caller whose session is in a tenant of theirs, perhaps another one."""
    try:
        await tenants.authorize_beside(db, user, token.tenant_id, "profile:write")
    except TenantNotFound:
        raise InvitationNotFound from None
    return await accept(db, user.user_id, token)


async def accept(db: AsyncSession, user_id: UUID, token: InvitationToken) -> tuple[Membership, Tenant]:
    """Make the person a member with the roles that were offered; of concurrent calls, one spends the invitation.

    The caller has checked that the person has verified the invited address. Raises InvitationNotFound, AlreadyMember.
    """
    await tenant_models.lock_tenant(db, token.tenant_id)
    invitation, tenant = await find(db, token)
    person = await db.get(Person, user_id)
    if person is None:
        raise InvitationNotFound
    membership = await members.join(db, tenant.tenant_id, person, invitation.roles)
    _end(invitation)
    await db.flush()
    return membership, tenant


def is_address(invitation: Invitation, email: str) -> bool:
    """Whether the invitation was sent to this address; one that has ended was sent to none."""
    return invitation.email is not None and invitation.email.lower() == email.lower()


async def usernames(db: AsyncSession, invitations: Sequence[Invitation]) -> dict[UUID, str]:
    """The names of the people who invited, by their ids."""
    ids = {one.invited_by for one in invitations}
    rows = select(Person.user_id, Person.username).where(Person.user_id.in_(ids))
    return {row.user_id: row.username for row in await db.execute(rows)} if ids else {}


async def _counts(db: AsyncSession, invitation: Invitation) -> bool:
    """Whether the inviter could still grant these roles: a removed or demoted admin leaves no open door behind.

    An operator of the fleet who is not a member of the tenant could when they invited.
    """
    inviter = await tenant_models.find_membership(db, invitation.tenant_id, invitation.invited_by)
    if inviter is None:
        return True
    needed = scopes_of(invitation.roles) | {"tenant:write"}
    return inviter.status == "active" and needed <= scopes_of(inviter.roles)


def _end(invitation: Invitation) -> None:
    invitation.ended_at, invitation.email = func.now(), None
