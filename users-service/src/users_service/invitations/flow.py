"""Inviting and accepting, across this service's transactions and the calls to auth-service."""

from uuid import UUID

from shared.clients import ServiceClient, UnexpectedAnswer
from shared.data.database import Database
from shared.identity.principal import Principal
from shared.problems import InvalidInput, Problem, ServiceUnavailable
from users_service.invitations import auth_api, service
from users_service.invitations.auth_api import InvitationMail, InvitingTenant
from users_service.invitations.models import Invitation
from users_service.invitations.schemas import InvitationIn
from users_service.invitations.service import InvitationMailsLimited, InvitationNotFound
from users_service.invitations.tokens import InvitationToken
from users_service.members.schemas import MembershipOut
from users_service.settings import UsersSettings
from users_service.tenants.models import Membership, Tenant

_AN_HOUR_S = 3600


async def invite(
    database: Database,
    auth: ServiceClient,
    user: Principal,
    tenant_id: UUID,
    wanted: InvitationIn,
    settings: UsersSettings,
) -> Invitation:
    """Store the invitation, then have it mailed; if that fails, it is deleted again.

    A process that ends in between leaves an invitation whose token was not sent; it expires, and can be withdrawn.
    Raises InvalidInput, TooManyInvitations, TenantNotFound, InvitationMailsLimited, ServiceUnavailable.
    """
    service.check_address(wanted.email, settings)
    async with database.transaction(user.tenant_id) as db:
        invitation, token, tenant = await service.invite(db, user, tenant_id, wanted, settings.invitations)
    try:
        await auth_api.send_mail(auth, _mail(invitation, token, tenant, user.username, wanted))
    except ServiceUnavailable as error:
        async with database.transaction(tenant_id) as db:
            await db.delete(invitation)
        raise _refusal(error) from error
    async with database.transaction(tenant_id) as db:
        await service.replace_earlier(db, invitation)
    return invitation


async def accept(database: Database, auth: ServiceClient, user: Principal, text: str) -> tuple[Membership, Tenant]:
    """Accept for the caller, once auth-service says that the invited address is theirs.

    Raises InvitationNotFound, AlreadyMember, ServiceUnavailable.
    """
    token, invitation, _ = await find(database, text)
    if not await auth_api.has_verified(auth, user.user_id, invitation.email or ""):
        raise InvitationNotFound
    async with database.transaction(user.tenant_id) as db:
        return await service.accept_own(db, user, token)


async def accept_for(database: Database, user_id: UUID, email: str, text: str) -> MembershipOut:
    """Accept for a person who has verified `email`, as auth-service says itself. Raises as `accept`."""
    token, invitation, _ = await find(database, text)
    if not service.is_address(invitation, email):
        raise InvitationNotFound
    async with database.transaction(token.tenant_id) as db:
        return MembershipOut.of(*await service.accept(db, user_id, token))


async def find(database: Database, text: str) -> tuple[InvitationToken, Invitation, Tenant]:
    """The open invitation with this token, and its tenant. Raises InvitationNotFound."""
    try:
        token = InvitationToken.parsed(text)
    except ValueError:
        raise InvitationNotFound from None
    async with database.transaction(token.tenant_id) as db:
        return token, *await service.find(db, token)


def _mail(
    invitation: Invitation, token: InvitationToken, tenant: Tenant, inviter: str, wanted: InvitationIn
) -> InvitationMail:
    return InvitationMail(
        mail_id=invitation.id,
        email=wanted.email,
        locale=wanted.locale,
        tenant=InvitingTenant(id=tenant.id, name=tenant.name, slug=tenant.slug),
        inviter_name=inviter,
        roles=invitation.roles,
        token=token.text,
        expires_at=invitation.expires_at,
    )


def _refusal(error: ServiceUnavailable) -> Problem:
    """What the caller can do about it: auth-service may refuse the address, or that many mails to it."""
    match error.received_code if isinstance(error, UnexpectedAnswer) else None:
        case "mail_limit_reached":
            return InvitationMailsLimited(retry_after_s=_AN_HOUR_S)
        case "address_unmailable" | "invalid_input":
            return InvalidInput("No mail can be sent to this address.")
    return error
