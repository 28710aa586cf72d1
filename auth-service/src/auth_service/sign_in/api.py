from typing import Annotated

from fastapi import Depends, Response

from auth_service.accounts.passwords import Passwords
from auth_service.deps import Address, Device, NamedTenant, Settings, UsersClient
from auth_service.scopes.service import requested
from auth_service.sessions.schemas import TokensOut
from auth_service.sessions.signed_in import SignedIn
from auth_service.sessions.token_response import TokenMakerDep, token_response
from auth_service.sign_in.flow import SignIn, TenantChoice, Visitor
from auth_service.sign_in.login_body import LoginBody, openapi_body
from auth_service.sign_in.schemas import LoginForm, LoginIn, SessionIn
from shared.deps import DatabaseDep, RevocationsDep, resource
from shared.web.router import Router

router = Router(prefix="/auth", tags=["sessions"])

PasswordsDep = Annotated[Passwords, resource(Passwords)]


async def sign_in_flow(
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


SignInDep = Annotated[SignIn, Depends(sign_in_flow)]


@router.post("/login", openapi_extra=openapi_body(json=LoginIn, form=LoginForm), response_model_exclude_none=True)
async def login(
    body: LoginBody, sign_in: SignInDep, named_tenant: NamedTenant, settings: Settings, response: Response
) -> TokensOut:
    """Sign in, as JSON or with the fields of the OAuth2 password form. `username` may be the email.

    The session is in the tenant that `tenant`, the subdomain or X-Tenant-ID names; else the last used; else the oldest.
    With `scope` it has no others than these; unknown ones, and those that the roles do not grant, are left out.
    """
    tokens = await sign_in.with_password(
        body.username, body.password, body.tenant, named_tenant, limited_to=requested(body.scope)
    )
    return token_response(tokens, response, settings, cookie=body.cookie)


@router.post("/sessions", status_code=201, response_model_exclude_none=True)
async def open_session(
    body: SessionIn, user: SignedIn, sign_in: SignInDep, settings: Settings, response: Response
) -> TokensOut:
    """Open a session in another of the caller's tenants; naming a tenant that invited them joins it."""
    tokens = await sign_in.in_tenant(user, body.tenant)
    return token_response(tokens, response, settings, cookie=body.cookie)
