from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request, Response

from auth_service.accounts.api import PasswordsDep
from auth_service.deps import Address, Device, KeyringDep, NamedTenant, Settings, UsersClient
from auth_service.memberships.models import Tenant, tenants_by_id
from auth_service.sessions import cookies, models, service
from auth_service.sessions.access import SignedIn
from auth_service.sessions.login_body import LoginBody, described
from auth_service.sessions.models import Session
from auth_service.sessions.refresh_tokens import decode, is_csrf_token
from auth_service.sessions.refreshing import Refreshing
from auth_service.sessions.schemas import (
    LoginForm,
    LoginIn,
    MeOut,
    RefreshIn,
    SessionIn,
    SessionOut,
    SessionsEnded,
    TenantOut,
    TenantWithTier,
    TokensOut,
)
from auth_service.sessions.service import CsrfRefused, RefreshRefused
from auth_service.sessions.sign_in import SignIn, Visitor
from auth_service.sessions.tenant_choice import TenantChoice
from auth_service.sessions.tokens import TokenMaker, Tokens
from auth_service.settings import AuthSettings
from auth_service.signing_keys.active_key import ActiveKey
from shared.deps import DatabaseDep, Db, RevocationsDep, resource
from shared.problems import InvalidToken
from shared.web.paging import CursorPage, ListQuery, by_cursor
from shared.web.router import Router

router = Router(prefix="/auth", tags=["sessions"])


ActiveKeyDep = Annotated[ActiveKey, resource(ActiveKey)]


async def token_maker(active_key: ActiveKeyDep, keyring: KeyringDep, settings: Settings) -> TokenMaker:
    return TokenMaker(active_key, keyring, settings.public_url)


TokenMakerDep = Annotated[TokenMaker, Depends(token_maker)]


async def sign_in(
    database: DatabaseDep,
    revocations: RevocationsDep,
    users: UsersClient,
    passwords: PasswordsDep,
    tokens: TokenMakerDep,
    settings: Settings,
    address: Address,
    device: Device,
) -> SignIn:
    tenants = TenantChoice(database, users, revocations, settings.public_url)
    return SignIn(database, passwords, tenants, tokens, settings, Visitor(address=address, device=device))


async def refreshing(
    database: DatabaseDep,
    revocations: RevocationsDep,
    users: UsersClient,
    tokens: TokenMakerDep,
    settings: Settings,
    address: Address,
) -> Refreshing:
    return Refreshing(database, users, revocations, tokens, settings, address)


SignInPart = Annotated[SignIn, Depends(sign_in)]
RefreshingPart = Annotated[Refreshing, Depends(refreshing)]
SessionId = Annotated[UUID, Path(examples=["0192f0c1-2b3c-7d4e-8f50-617283940a1b"])]
CsrfHeader = Annotated[str | None, Header(alias="X-CSRF-Token", max_length=200)]


@router.post("/login", openapi_extra=described(json=LoginIn, form=LoginForm), response_model_exclude_none=True)
async def login(
    body: LoginBody, sign_in: SignInPart, named_tenant: NamedTenant, settings: Settings, response: Response
) -> TokensOut:
    """Sign in, as JSON or with the fields of the OAuth2 password form. `username` may be the email.

    The session is in the tenant that `tenant`, the subdomain or X-Tenant-ID names; else the last used; else the oldest.
    """
    tokens = await sign_in.with_password(body.username, body.password, body.tenant or named_tenant)
    return answered(tokens, response, settings, cookie=body.cookie)


@router.post("/refresh", response_model_exclude_none=True)
async def refresh(
    body: RefreshIn,
    request: Request,
    refreshing: RefreshingPart,
    named_tenant: NamedTenant,
    database: DatabaseDep,
    keyring: KeyringDep,
    settings: Settings,
    response: Response,
    csrf: CsrfHeader = None,
) -> TokensOut:
    """Carry the session on: new tokens for the newest refresh token, the same again for a retry within seconds.

    By cookie (body `{}`) it needs an allowed Origin and the sign-in's `csrf_token` as X-CSRF-Token.
    """
    by_cookie = body.refresh_token is None
    if by_cookie and not await cookies.is_allowed_origin(request.headers.get("origin"), settings, database):
        raise CsrfRefused
    token = decode(body.refresh_token or cookies.read(request, settings) or "", keyring)
    if token is None:
        raise RefreshRefused
    if by_cookie and not is_csrf_token(csrf or "", token.family, keyring):
        raise CsrfRefused
    return answered(await refreshing.refresh(token, named_tenant), response, settings, cookie=by_cookie)


def answered(tokens: Tokens, response: Response, settings: AuthSettings, *, cookie: bool) -> TokensOut:
    response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
    if cookie:
        cookies.put(response, tokens.refresh_token, settings)
    return TokensOut(
        access_token=tokens.access_token,
        refresh_token=None if cookie else tokens.refresh_token,
        scope=tokens.scope,
        session_id=tokens.session_id,
        csrf_token=tokens.csrf_token if cookie else None,
    )


@router.post("/logout", status_code=204)
async def logout(user: SignedIn, db: Db, address: Address, settings: Settings, response: Response) -> None:
    """End this session: its tokens count no more, here at once and at every gateway within two seconds."""
    if user.session_id is not None:
        with suppress(service.SessionNotFound):  # another logout at the same moment has done it
            await service.end_own(db, user.user_id, user.session_id, "logout", address)
    cookies.expire(response, settings)


@router.post("/logout-all")
async def logout_all(user: SignedIn, db: Db, address: Address, settings: Settings, response: Response) -> SessionsEnded:
    """End every session of the caller, in all their tenants, this one too."""
    cookies.expire(response, settings)
    return SessionsEnded(sessions_ended=await service.end_all(db, user.user_id, address))


@router.get("/me")
async def read_me(user: SignedIn, db: Db) -> MeOut:
    """Who the token says that the caller is."""
    account = await models.find_account(db, user.user_id)
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
        email=account.email,
        tenant=tenant,
        roles=sorted(user.roles),
        scope=" ".join(sorted(user.scopes)),
    )


@router.get("/sessions")
async def list_sessions(
    user: SignedIn, db: Db, query: Annotated[ListQuery, Query()], settings: Settings
) -> CursorPage[SessionOut]:
    """The caller's open sessions, in all their tenants."""
    rows = service.own_sessions(user.user_id, settings.sessions)
    sortable = {"created_at": Session.created_at, "last_seen_at": Session.last_seen_at}
    found, next_cursor = await by_cursor(db, rows, query, sortable, Session.id)
    tenants = await tenants_by_id(db, {session.tenant_id for session in found})
    return CursorPage(
        items=[session_out(session, tenants.get(session.tenant_id), user.session_id) for session in found],
        next_cursor=next_cursor,
    )


def session_out(session: Session, tenant: Tenant | None, current: UUID | None) -> SessionOut:
    named = TenantOut(id=session.tenant_id, slug=tenant.slug if tenant else None, name=tenant.name if tenant else None)
    return SessionOut(
        id=session.id,
        tenant=named,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        device=session.device,
        current=session.id == current,
    )


@router.post("/sessions", status_code=201, response_model_exclude_none=True)
async def open_session(
    body: SessionIn, user: SignedIn, sign_in: SignInPart, settings: Settings, response: Response
) -> TokensOut:
    """A new session in another of the caller's tenants; naming one that invited them joins it."""
    tokens = await sign_in.in_tenant(user, body.tenant)
    return answered(tokens, response, settings, cookie=body.cookie)


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: SessionId, user: SignedIn, db: Db, address: Address) -> None:
    """End one of the caller's sessions."""
    await service.end_own(db, user.user_id, session_id, "ended_by_owner", address)
