from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request, Response

from auth_service.accounts.models import find_account, usernames
from auth_service.deps import Address, KeyringDep, NamedTenant, Settings, UsersClient
from auth_service.memberships.models import Tenant, tenants_by_id
from auth_service.sessions import cookies, ending, service
from auth_service.sessions.devices import readable
from auth_service.sessions.ending import SessionNotFound
from auth_service.sessions.flow import Refresh, is_allowed_origin
from auth_service.sessions.models import CLIENT_ID, Session
from auth_service.sessions.quick_rotation import QuickRotation
from auth_service.sessions.refresh_request import RefreshRequest
from auth_service.sessions.refresh_tokens import decode, is_csrf_token
from auth_service.sessions.rotation import (
    CsrfRefused,
    MembershipEnded,
    RefreshRefused,
    RefreshTokenReused,
    SecondFactorMissing,
)
from auth_service.sessions.schemas import (
    ImpersonationOut,
    MeOut,
    OperatorOut,
    RefreshIn,
    SessionOut,
    SessionsEnded,
    TenantOut,
    TenantWithTier,
    TokensOut,
)
from auth_service.sessions.signed_in import AccountOwner, SignedIn
from auth_service.sessions.token_response import TokenMakerDep, token_response
from shared.deps import DatabaseDep, Db, RevocationsDep, resource
from shared.problems import InvalidToken, TenantMismatch, raises
from shared.web.paging import CursorPage, ListQuery
from shared.web.router import Router

router = Router(prefix="/auth", tags=["sessions"])


async def refresh_flow(
    database: DatabaseDep,
    revocations: RevocationsDep,
    users: UsersClient,
    tokens: TokenMakerDep,
    settings: Settings,
    quick: Annotated[QuickRotation, resource(QuickRotation)],
    address: Address,
) -> Refresh:
    return Refresh(database, users, revocations, tokens, settings, quick, address)


RefreshDep = Annotated[Refresh, Depends(refresh_flow)]
SessionId = Annotated[UUID, Path(examples=["0192f0c1-2b3c-7d4e-8f50-617283940a1b"])]
CsrfHeader = Annotated[str | None, Header(alias="X-CSRF-Token", max_length=200)]


@router.post("/refresh", response_model_exclude_none=True)
@raises(RefreshRefused, RefreshTokenReused, MembershipEnded, SecondFactorMissing, CsrfRefused, TenantMismatch)
async def refresh(
    body: RefreshIn,
    request: Request,
    refresh_flow: RefreshDep,
    named_tenant: NamedTenant,
    database: DatabaseDep,
    keyring: KeyringDep,
    settings: Settings,
    response: Response,
    csrf: CsrfHeader = None,
) -> TokensOut:
    """Refresh the session: new tokens; a retry within seconds gets the same refresh token again.

    By cookie (body `{}`) it needs an allowed Origin and the sign-in's `csrf_token` as X-CSRF-Token.
    """
    by_cookie = body.refresh_token is None
    if by_cookie and not await is_allowed_origin(request.headers.get("origin"), settings, database):
        raise CsrfRefused
    shown = cookies.read(request, settings) or "" if body.refresh_token is None else body.refresh_token
    token = decode(shown, keyring)
    if token is None:
        raise RefreshRefused
    if by_cookie and not is_csrf_token(csrf or "", token.family, keyring):
        raise CsrfRefused
    refreshed = await refresh_flow.rotate(RefreshRequest(token, named_tenant))
    return token_response(refreshed.tokens, response, settings, cookie=by_cookie)


@router.post("/logout", status_code=204)
async def logout(user: SignedIn, db: Db, address: Address, settings: Settings, response: Response) -> None:
    """End this session; by an exchanged token (RFC 8693), that token.

    Its tokens are refused here at once, and by every gateway within two seconds.
    """
    with suppress(ending.SessionNotFound):  # a concurrent logout has ended it
        await ending.end_of_token(db, user, address)
    if user.impersonator is None:  # otherwise the browser's cookie is of the operator's own session
        cookies.expire(response, settings)


@router.post("/logout-all")
async def logout_all(
    user: AccountOwner, db: Db, address: Address, settings: Settings, response: Response
) -> SessionsEnded:
    """End every session of the caller, in all their tenants, this one too."""
    cookies.expire(response, settings)
    return SessionsEnded(sessions_ended=await ending.end_all(db, user.user_id, "logout_all", address))


@router.get("/me")
async def read_me(user: SignedIn, db: Db) -> MeOut:
    """The caller, by their token."""
    account = await find_account(db, user.user_id)
    if account is None:
        raise InvalidToken
    tenant = None
    if user.tenant_id is not None:
        known = (await tenants_by_id(db, {user.tenant_id})).get(user.tenant_id)
        tenant = TenantWithTier(
            id=user.tenant_id, slug=user.tenant_slug, name=known.name if known else None, tier=user.tier
        )
    return MeOut(
        id=account.id,
        username=account.username,
        email=account.email if user.client_id == CLIENT_ID or "email" in user.scopes else None,
        tenant=tenant,
        roles=sorted(user.roles),
        scope=" ".join(sorted(user.scopes)),
        impersonator_id=user.impersonator,
    )


@router.get("/sessions")
async def list_sessions(
    user: AccountOwner, db: Db, query: Annotated[ListQuery, Query()], settings: Settings
) -> CursorPage[SessionOut]:
    """The caller's open sessions, in all their tenants."""
    found, next_cursor = await service.page(db, user.user_id, query, settings.sessions)
    tenants = await tenants_by_id(db, {session.tenant_id for session in found})
    names = await usernames(db, {session.impersonator_id for session in found if session.impersonator_id})
    return CursorPage(
        items=[session_out(session, tenants.get(session.tenant_id), names, user.session_id) for session in found],
        next_cursor=next_cursor,
    )


def session_out(
    session: Session, tenant: Tenant | None, operators: Mapping[UUID, str], current: UUID | None
) -> SessionOut:
    named = TenantOut(id=session.tenant_id, slug=tenant.slug if tenant else None, name=tenant.name if tenant else None)
    return SessionOut(
        id=session.id,
        tenant=named,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        device=readable(session.device),
        address=session.address,
        current=session.id == current,
        impersonation=impersonation_out(session, operators),
    )


def impersonation_out(session: Session, operators: Mapping[UUID, str]) -> ImpersonationOut | None:
    """Who acts as the person in this session; None if no one does. `operators` are usernames by id."""
    if session.impersonator_id is None:
        return None
    operator = OperatorOut(id=session.impersonator_id, username=operators.get(session.impersonator_id))
    return ImpersonationOut(
        operator=operator, reason=session.impersonation_reason or "", until=session.impersonated_until
    )


@router.delete("/sessions")
async def end_other_sessions(user: AccountOwner, db: Db, address: Address) -> SessionsEnded:
    """End the caller's other sessions, in all their tenants; this one stays."""
    return SessionsEnded(sessions_ended=await ending.end_others(db, user, "ended_by_owner", address))


@router.delete("/sessions/{session_id}", status_code=204)
@raises(SessionNotFound)
async def end_session(session_id: SessionId, user: AccountOwner, db: Db, address: Address) -> None:
    """End one of the caller's sessions."""
    await ending.end_own(db, user.user_id, session_id, "ended_by_owner", address)
