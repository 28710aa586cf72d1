from typing import Annotated, Any, Final

import orjson
from fastapi import Request, Response

from auth_service.clients.authentication import credentials
from auth_service.clients.deps import FORM_REFUSALS, ClientDep, OAuthForm, authenticate, check_proof, oauth_form
from auth_service.deps import Address, KeyringDep, address, device
from auth_service.device_authorization.service import PollRefused
from auth_service.dpop import deps as dpop
from auth_service.forms import FORM
from auth_service.keyring import Keyring
from auth_service.memberships.models import Tenant
from auth_service.oauth_errors import NO_STORE, GrantReplayed, InvalidClient, OAuthError
from auth_service.oauth_tokens import service
from auth_service.oauth_tokens.access_tokens import AccessTokens
from auth_service.oauth_tokens.flow import Grants
from auth_service.oauth_tokens.introspection import Introspection
from auth_service.oauth_tokens.schemas import FORM_EXAMPLE, IntrospectionOut, OAuthTokensOut
from auth_service.sessions.flow import Refresh
from auth_service.sessions.quick_rotation import QuickRotation
from auth_service.sessions.refresh_tokens import decode
from auth_service.sessions.tokens import TokenMaker
from auth_service.settings import AuthSettings
from auth_service.sign_in.tenant_choice import TenantChoice
from shared.clients import Clients
from shared.data.database import Database
from shared.deps import DatabaseDep, resource
from shared.identity import Revocations
from shared.identity.dpop import Proof
from shared.problems import raises
from shared.resources import Resources, resources_of
from shared.web.router import Router

router = Router(prefix="/oauth2", tags=["oauth2"])

AccessTokensDep = Annotated[AccessTokens, resource(AccessTokens)]


def _form(example: dict[str, str], *required: str) -> dict[str, Any]:
    """The OpenAPI description of a form."""
    schema = {
        "type": "object",
        "required": list(required),
        "properties": {name: {"type": "string"} for name in example},
        "example": example,
    }
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


_REFUSALS: Final = (
    OAuthError("unsupported_grant_type", "Supported are authorization_code, refresh_token and client_credentials."),
    OAuthError("unauthorized_client", "The client is not registered for this grant."),
    GrantReplayed,
    OAuthError("invalid_grant", "The code has expired."),
    OAuthError("invalid_scope", "A refresh cannot add scopes."),
    OAuthError("invalid_target", "The tokens cannot be for this resource."),
    PollRefused("authorization_pending", "The person has not answered yet. Poll every 5 seconds."),
    PollRefused("slow_down", "The person has not answered yet. Poll every 10 seconds."),
    OAuthError("access_denied", "The person refused."),
    OAuthError("expired_token", "The device_code has expired. Ask for a new one."),
)
_TOKEN: Final = {"token": "q3mZ0w…", "token_type_hint": "access_token", "client_id": FORM_EXAMPLE["client_id"]}


@router.post(
    "/token",
    response_model=OAuthTokensOut,
    response_model_exclude_none=True,
    openapi_extra=_form(FORM_EXAMPLE, "grant_type") | {"parameters": [dpop.PARAMETER]},
)
@raises(*FORM_REFUSALS, InvalidClient, *dpop.REFUSALS, *_REFUSALS)
async def issue_tokens(request: Request) -> Response:
    """Exchange a grant for tokens (RFC 6749, section 3.2). Errors have the shape of section 5.2."""
    opened = resources_of(request)
    keyring, settings = opened.get(Keyring), opened.get(AuthSettings)
    form = await oauth_form(request)
    proof = dpop.proof_of(request, keyring, settings)
    caller = await authenticate(request, form, opened.get(Database), settings)
    grants = await _grants(request, opened, caller.tenant, proof)
    issued = await grants.exchange(caller.client, form)
    headers = NO_STORE if proof is None else NO_STORE | dpop.next_nonce(keyring)
    content = orjson.dumps(issued.model_dump(exclude_none=True))
    return Response(content, media_type="application/json", headers=headers)


async def _grants(request: Request, opened: Resources, tenant: Tenant | None, proof: Proof | None) -> Grants:
    database, users, revocations = opened.get(Database), opened.get(Clients).to("users"), opened.get(Revocations)
    tokens, settings, client_address = opened.get(TokenMaker), opened.get(AuthSettings), await address(request)
    return Grants(
        database=database,
        tokens=tokens,
        access_tokens=opened.get(AccessTokens),
        tenants=TenantChoice(database, users, revocations, settings.public_url),
        refreshing=Refresh(database, users, revocations, tokens, settings, opened.get(QuickRotation), client_address),
        settings=settings,
        address=client_address,
        device=await device(request.headers.get("user-agent")),
        tenant=tenant,
        proof=proof,
    )


@router.post(
    "/introspect",
    response_model=IntrospectionOut,
    response_model_exclude_none=True,
    openapi_extra=_form(_TOKEN, "token"),
)
@raises(*FORM_REFUSALS, InvalidClient)
async def introspect_token(request: Request) -> Response:
    """What a token is worth now (RFC 7662). The caller is a confidential client, of the token's tenant or the fleet."""
    opened = resources_of(request)
    database, settings = opened.get(Database), opened.get(AuthSettings)
    form = await oauth_form(request)
    tokens, keyring, revocations = opened.get(AccessTokens), opened.get(Keyring), opened.get(Revocations)
    introspection = Introspection(database, tokens, keyring, revocations, settings)
    shown = credentials(request.headers.get("authorization"), form)
    caller, answer = await introspection.ask(shown, _token(form))
    await check_proof(request, shown, caller, database, settings)
    return Response(orjson.dumps(answer), media_type="application/json", headers=NO_STORE)


@router.post("/revoke", response_class=Response, openapi_extra=_form(_TOKEN, "token"))
async def revoke_token(
    client: ClientDep,
    form: OAuthForm,
    database: DatabaseDep,
    tokens: AccessTokensDep,
    keyring: KeyringDep,
    address: Address,
) -> Response:
    """End a token of the caller, everywhere within two seconds (RFC 7009). Unknown tokens are 200 too."""
    token = _token(form)
    refresh_token = decode(token, keyring)
    async with database.transaction() as db:
        if refresh_token is not None:
            await service.revoke_refresh_token(db, client, refresh_token, address)
        else:
            await service.revoke_access_token(db, client, token, tokens)
    return Response(headers=NO_STORE)


def _token(form: dict[str, str]) -> str:
    if "token" not in form:
        raise OAuthError("invalid_request", "token is missing.")
    return form["token"]
