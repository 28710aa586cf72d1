from typing import Annotated

from fastapi import Depends, Query, Request, Response, Security

from auth_service.clients import service
from auth_service.clients.redirect_uris import REDIRECT_URI
from auth_service.clients.schemas import (
    ClientChanges,
    ClientIn,
    ClientOut,
    NewClientOut,
    RegistrationIn,
    SecretOut,
)
from auth_service.clients.service import ClientNotFound, RolesExceeded, SecretNotUsed
from auth_service.deps import Address
from auth_service.forms import validated
from auth_service.oauth_errors import NO_STORE, OAuthError
from auth_service.sessions.signed_in import SignedIn
from shared.deps import Db, ExampleId, refuse_impersonation, require_scopes
from shared.identity import Principal
from shared.problems import InvalidInput, MalformedRequest, raises
from shared.web.paging import CursorPage, ListQuery
from shared.web.router import Router

router = Router(prefix="/oauth2", tags=["clients"], dependencies=[Depends(refuse_impersonation)])

Reader = Annotated[Principal, Security(require_scopes("admin:read"))]
Writer = [Depends(require_scopes("admin:write"))]


@router.post("/clients", status_code=201, dependencies=Writer)
@raises(RolesExceeded)
async def create_client(body: ClientIn, user: SignedIn, db: Db, address: Address, response: Response) -> NewClientOut:
    """Register a client of the caller's tenant. Its secret is in this answer only."""
    response.headers.update(NO_STORE)
    return NewClientOut.made(*await service.register(db, body, user, address))


@raises(
    OAuthError("invalid_redirect_uri", "#/redirect_uris/0: Must be an absolute URL."),
    OAuthError("invalid_client_metadata", "#/jwks: private_key_jwt requires jwks."),
)
async def registration(request: Request) -> RegistrationIn:
    """The metadata of a dynamic registration. Raises OAuthError (RFC 7591, section 3.2.2)."""
    try:
        return validated(RegistrationIn, await request.json())
    except MalformedRequest as problem:
        raise OAuthError("invalid_client_metadata", problem.detail) from None
    except InvalidInput as problem:
        error = problem.errors[0]
        wrong_uri = error.rule is REDIRECT_URI or (error.pointer or "").startswith("#/redirect_uris")
        named = f"{error.pointer}: {error.detail}" if error.pointer else error.detail
        raise OAuthError("invalid_redirect_uri" if wrong_uri else "invalid_client_metadata", named) from None


@router.post(
    "/register",
    status_code=201,
    dependencies=Writer,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": RegistrationIn.model_json_schema()}},
        }
    },
)
@raises(RolesExceeded)
async def register_client(
    metadata: Annotated[RegistrationIn, Depends(registration)],
    user: SignedIn,
    db: Db,
    address: Address,
    response: Response,
) -> NewClientOut:
    """Register a client by its own metadata (RFC 7591). The initial access token is one with admin:write."""
    response.headers.update(NO_STORE)
    return NewClientOut.made(*await service.register(db, metadata, user, address))


@router.get("/clients")
async def list_clients(user: Reader, db: Db, query: Annotated[ListQuery, Query()]) -> CursorPage[ClientOut]:
    """The clients of the caller's tenant."""
    found, next_cursor = await service.page(db, query, user)
    return CursorPage(items=[ClientOut.of(client) for client in found], next_cursor=next_cursor)


@router.get("/clients/{client_id}")
@raises(ClientNotFound)
async def read_client(client_id: ExampleId, user: Reader, db: Db) -> ClientOut:
    """One client."""
    return ClientOut.of(await service.find(db, client_id, user))


@router.patch("/clients/{client_id}", dependencies=Writer)
@raises(ClientNotFound, RolesExceeded)
async def change_client(
    client_id: ExampleId, body: ClientChanges, user: SignedIn, db: Db, address: Address
) -> ClientOut:
    """Change a client. Needs the scopes that registering it requires; disabling it, admin:write alone.

    A disabled one gets no tokens, and its sessions and tokens end within two seconds.
    """
    client = await service.find(db, client_id, user, lock=True)
    await service.change(db, client, body, user, address)
    return ClientOut.of(client)


@router.post("/clients/{client_id}/secret", dependencies=Writer)
@raises(ClientNotFound, SecretNotUsed, RolesExceeded)
async def rotate_client_secret(
    client_id: ExampleId, user: SignedIn, db: Db, address: Address, response: Response
) -> SecretOut:
    """A new secret; the one before is no longer accepted."""
    response.headers.update(NO_STORE)
    client = await service.find(db, client_id, user, lock=True)
    return SecretOut(client_secret=await service.rotate_secret(db, client, user, address))


@router.delete("/clients/{client_id}", status_code=204, dependencies=Writer)
@raises(ClientNotFound)
async def delete_client(client_id: ExampleId, user: SignedIn, db: Db, address: Address) -> None:
    """Delete a client; its sessions and tokens end within two seconds."""
    await service.delete(db, await service.find(db, client_id, user, lock=True), user, address)
