"""Invitations of a tenant, accepting one, and what auth-service asks for its page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from shared.clients import ServiceClient
from shared.deps import (
    CurrentUser,
    DatabaseDep,
    ExampleId,
    client_of,
    refuse_impersonation,
    require_grant,
    require_scopes,
)
from shared.problems import InvalidInput, ServiceUnavailable, raises
from shared.web.idempotency import IdempotentJson
from shared.web.paging import CursorPage, ListQuery
from shared.web.router import Router
from users_service.deps import Settings, TenantId
from users_service.invitations import flow, service
from users_service.invitations.models import Invitation
from users_service.invitations.schemas import (
    AcceptedOut,
    AcceptForIn,
    AcceptIn,
    FindIn,
    InvitationIn,
    InvitationOut,
    Inviter,
    OfferOut,
)
from users_service.invitations.service import InvitationMailsLimited, InvitationNotFound, TooManyInvitations
from users_service.members.schemas import MembershipOut
from users_service.members.service import AlreadyMember
from users_service.tenants.models import Membership, Tenant
from users_service.tenants.schemas import TenantBrief
from users_service.tenants.service import TenantNotFound
from users_service.tenants.transactions import OwnTenantDb, OwnTenantId

router = Router(prefix="/api/v1/tenants/{tenant_id}/invitations", tags=["tenants"])
accepting = Router(prefix="/api/v1/invitations", tags=["tenants"])
internal = Router(
    prefix="/internal/invitations", tags=["internal"], dependencies=[Depends(require_grant("invitations:accept"))]
)

Auth = Annotated[ServiceClient, client_of("auth")]
_READ: Final = [Depends(require_scopes("tenant:read"))]
_WRITE: Final = [Depends(refuse_impersonation), Depends(require_scopes("tenant:write"))]
_ACCEPT: Final = [Depends(refuse_impersonation), Depends(require_scopes("profile:write"))]


@router.post("", status_code=201, dependencies=_WRITE)
@raises(TenantNotFound, TooManyInvitations, InvitationMailsLimited, InvalidInput, ServiceUnavailable)
async def create_invitation(
    tenant_id: OwnTenantId,
    body: InvitationIn,
    user: CurrentUser,
    database: DatabaseDep,
    auth: Auth,
    settings: Settings,
    once: IdempotentJson,
    response: Response,
) -> InvitationOut:
    """Mail an invitation. It replaces an earlier one to the same address, and works once, until it expires.

    Where the mail cannot be sent now (503) nothing is stored: repeat the request.
    """
    invitation = await flow.invite(database, auth, user, tenant_id, body, settings)
    async with database.transaction(tenant_id) as db:
        [shown] = await _shown(db, [invitation])
    headers = {"Location": f"/api/v1/tenants/{tenant_id}/invitations/{invitation.id}"}
    await once.keep(shown, 201, headers)
    response.headers.update(headers)
    return shown


@router.get("", dependencies=_READ)
@raises(TenantNotFound)
async def list_invitations(
    tenant_id: TenantId, db: OwnTenantDb, query: Annotated[ListQuery, Query()]
) -> CursorPage[InvitationOut]:
    """The invitations that were neither accepted nor withdrawn; an expired one is shown for a week."""
    found, following = await service.page(db, tenant_id, query)
    return CursorPage(items=await _shown(db, found), next_cursor=following)


@router.delete("/{invitation_id}", status_code=204, dependencies=_WRITE)
@raises(TenantNotFound, InvitationNotFound)
async def delete_invitation(tenant_id: TenantId, invitation_id: ExampleId, user: CurrentUser, db: OwnTenantDb) -> None:
    """Withdraw an invitation: its link no longer works."""
    await service.withdraw(db, user, tenant_id, invitation_id)


@accepting.post("/accept", dependencies=_ACCEPT)
@raises(InvitationNotFound, AlreadyMember, ServiceUnavailable)
async def accept_invitation(
    body: AcceptIn, user: CurrentUser, database: DatabaseDep, auth: Auth, once: IdempotentJson
) -> AcceptedOut:
    """Become a member of the tenant that mailed the token to an address which the caller has verified.

    A token that is unknown, expired, spent or withdrawn, and one that was mailed to another address, are the same 404.
    The caller's session stays in its own tenant.
    """
    membership, tenant = await flow.accept(database, auth, user, body.token)
    accepted = _accepted(membership, tenant)
    await once.keep(accepted, 200)
    return accepted


@internal.post("/find")
@raises(InvitationNotFound)
async def find_invitation(body: FindIn, database: DatabaseDep) -> OfferOut:
    """What the open invitation with this token offers."""
    _, invitation, tenant = await flow.find(database, body.token)
    async with database.transaction(tenant.tenant_id) as db:
        [shown] = await _shown(db, [invitation])
    return OfferOut(
        tenant=TenantBrief.model_validate(tenant),
        email=shown.email,
        roles=shown.roles,
        invited_by=shown.invited_by,
        expires_at=shown.expires_at,
    )


@internal.post("/accept")
@raises(InvitationNotFound, AlreadyMember)
async def accept_invitation_for(body: AcceptForIn, database: DatabaseDep) -> MembershipOut:
    """Accept for a person who is signed in at auth-service's page and has verified `email`."""
    return await flow.accept_for(database, body.user_id, body.email, body.token)


async def _shown(db: AsyncSession, invitations: Sequence[Invitation]) -> list[InvitationOut]:
    names = await service.usernames(db, invitations)
    return [_invitation(one, names.get(one.invited_by)) for one in invitations]


def _invitation(one: Invitation, inviter: str | None) -> InvitationOut:
    return InvitationOut(
        id=one.id,
        email=one.email or "",
        roles=one.roles,
        status="open" if one.expires_at > datetime.now(UTC) else "expired",
        invited_by=Inviter(id=one.invited_by, username=inviter),
        created_at=one.created_at,
        expires_at=one.expires_at,
    )


def _accepted(membership: Membership, tenant: Tenant) -> AcceptedOut:
    return AcceptedOut(
        tenant=TenantBrief.model_validate(tenant),
        user_id=membership.user_id,
        username=membership.username,
        roles=membership.roles,
        status="active",
    )
