from typing import Annotated

from fastapi import Depends, Response

from auth_service.accounts.passwords import HashingBusy, Passwords
from auth_service.deps import Address, Device, KeyringDep, NamedTenant, Settings, UsersClient
from auth_service.mails.deps import MailsDep
from auth_service.mfa.schemas import OptionsOut, TotpOut
from auth_service.mfa.service import Proof, SecondFactorRefused, TooManyFactors
from auth_service.scopes.service import ScopeInvalid, requested
from auth_service.sessions.schemas import TokensOut
from auth_service.sessions.signed_in import AccountOwner
from auth_service.sessions.token_response import TokenMakerDep, token_response
from auth_service.sign_in.choices import Choices
from auth_service.sign_in.flow import SignIn, Visitor
from auth_service.sign_in.login_body import LoginBody, openapi_body
from auth_service.sign_in.schemas import (
    EnrolIn,
    LoginForm,
    LoginIn,
    PasskeyOptionsIn,
    PasskeySignInIn,
    SessionIn,
    VerifyFactorIn,
)
from auth_service.sign_in.second_factor import SecondFactor
from auth_service.sign_in.service import (
    AccountDeactivated,
    EmailUnverified,
    MfaRequired,
    MfaTokenInvalid,
    PasskeyRefused,
    SignInRefused,
    TenantClosed,
    TenantContradiction,
    TenantNotFound,
)
from auth_service.sign_in.tenant_choice import TenantChoice
from auth_service.sign_in.throttle import SignInThrottled
from shared.deps import DatabaseDep, RevocationsDep, resource
from shared.problems import InsufficientUserAuthentication, NoTenant, raises
from shared.web.router import Router

router = Router(prefix="/auth", tags=["sessions"])

PasswordsDep = Annotated[Passwords, resource(Passwords)]


async def second_factor_flow(
    database: DatabaseDep, keyring: KeyringDep, mails: MailsDep, settings: Settings, address: Address
) -> SecondFactor:
    return SecondFactor(database, keyring, mails, settings, address)


SecondFactorDep = Annotated[SecondFactor, Depends(second_factor_flow)]


@raises(SignInRefused, AccountDeactivated, NoTenant, TenantNotFound, TenantClosed, TenantContradiction, ScopeInvalid)
async def sign_in_flow(
    database: DatabaseDep,
    revocations: RevocationsDep,
    users: UsersClient,
    passwords: PasswordsDep,
    tokens: TokenMakerDep,
    second_factor: SecondFactorDep,
    settings: Settings,
    address: Address,
    device: Device,
) -> SignIn:
    tenants = TenantChoice(database, users, revocations, settings.public_url)
    visitor = Visitor(address=address, device=device)
    return SignIn(database, passwords, tenants, tokens, second_factor, settings, visitor)


SignInDep = Annotated[SignIn, Depends(sign_in_flow)]


@router.post("/login", openapi_extra=openapi_body(json=LoginIn, form=LoginForm), response_model_exclude_none=True)
@raises(EmailUnverified, MfaRequired, SignInThrottled, HashingBusy)
async def login(
    body: LoginBody, sign_in: SignInDep, named_tenant: NamedTenant, settings: Settings, response: Response
) -> TokensOut:
    """Sign in, as JSON or with the fields of the OAuth2 password form. `username` may be the email.

    The session is in the tenant that `tenant`, the subdomain or X-Tenant-ID names; else the last used; else the oldest.
    With `scope` it has no others than these; unknown ones, and those that the roles do not grant, are left out. If a
    second factor is required, the answer is 401 `mfa_required`, with the `mfa_token` for POST /auth/mfa/verify.
    """
    choices = Choices(body.tenant, named_tenant, requested(body.scope), body.cookie, body.remember_me)
    tokens = await sign_in.with_password(body.username, body.password, choices)
    return token_response(tokens, response, settings, cookie=body.cookie)


@router.post("/mfa/verify", response_model_exclude_none=True)
@raises(MfaTokenInvalid, SecondFactorRefused, SignInThrottled)
async def verify_second_factor(
    body: VerifyFactorIn, sign_in: SignInDep, settings: Settings, response: Response
) -> TokensOut:
    """Complete a sign-in that was answered with `mfa_required`, by a second factor. Each code works once."""
    proof = Proof(body.method, body.code, body.credential)
    tokens, choices = await sign_in.with_second_factor(body.mfa_token, proof)
    return token_response(tokens, response, settings, cookie=choices.cookie)


@router.post("/mfa/enrol", status_code=201)
@raises(MfaTokenInvalid, TooManyFactors)
async def enrol_at_sign_in(body: EnrolIn, second_factor: SecondFactorDep, response: Response) -> TotpOut:
    """Add an authenticator app where the tenant requires a second factor and the person has none.

    Its first code, sent to POST /auth/mfa/verify, completes the sign-in.
    """
    response.headers["Cache-Control"] = "no-store"
    factor_id, secret, uri = await second_factor.enrol(body.mfa_token, body.name)
    return TotpOut(id=factor_id, secret=secret, uri=uri)


@router.post("/mfa/passkeys/sign-in/options")
@raises(MfaTokenInvalid)
async def make_passkey_sign_in_options(body: PasskeyOptionsIn, second_factor: SecondFactorDep) -> OptionsOut:
    """What a page gives to `navigator.credentials.get`, for a second factor or for a sign-in by passkey alone."""
    return OptionsOut(options=await second_factor.passkey_options(body.mfa_token))


@router.post("/mfa/passkeys/sign-in", response_model_exclude_none=True)
@raises(PasskeyRefused, EmailUnverified, MfaRequired)
async def sign_in_by_passkey(
    body: PasskeySignInIn, sign_in: SignInDep, named_tenant: NamedTenant, settings: Settings, response: Response
) -> TokensOut:
    """Sign in with a passkey alone, without username and password."""
    choices = Choices(body.tenant, named_tenant, requested(body.scope), body.cookie, body.remember_me)
    tokens = await sign_in.with_passkey(body.credential, choices)
    return token_response(tokens, response, settings, cookie=body.cookie)


@router.post("/sessions", status_code=201, response_model_exclude_none=True)
@raises(InsufficientUserAuthentication)
async def open_session(
    body: SessionIn, user: AccountOwner, sign_in: SignInDep, settings: Settings, response: Response
) -> TokensOut:
    """Open a session in another of the caller's tenants; naming a tenant that invited them joins it."""
    tokens = await sign_in.in_tenant(user, body.tenant)
    return token_response(tokens, response, settings, cookie=body.cookie)
