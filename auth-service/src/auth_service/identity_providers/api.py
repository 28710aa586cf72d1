"""The registry of identity providers: for admins of a tenant, and for operators."""

from typing import Annotated

from fastapi import Depends, Query, Security

from auth_service.deps import Address, KeyringDep, Settings
from auth_service.identity_providers import service
from auth_service.identity_providers.deps import IssuersDep
from auth_service.identity_providers.issuers import UpstreamFailed
from auth_service.identity_providers.schemas import IdentityProviderChanges, IdentityProviderIn, IdentityProviderOut
from auth_service.identity_providers.service import IdentityProviderNotFound, IssuerUnusable, TooManyIdentityProviders
from auth_service.sessions.signed_in import SignedIn
from shared.deps import DatabaseDep, Db, ExampleId, refuse_impersonation, require_scopes
from shared.identity import Principal
from shared.problems import raises
from shared.web.paging import CursorPage, ListQuery
from shared.web.router import Router

router = Router(
    prefix="/auth/identity-providers", tags=["identity providers"], dependencies=[Depends(refuse_impersonation)]
)

Reader = Annotated[Principal, Security(require_scopes("admin:read"))]
Writer = [Depends(require_scopes("admin:write"))]


@router.post("", status_code=201, dependencies=Writer)
@raises(IssuerUnusable, TooManyIdentityProviders)
async def create_identity_provider(
    body: IdentityProviderIn,
    user: SignedIn,
    database: DatabaseDep,
    issuers: IssuersDep,
    keyring: KeyringDep,
    settings: Settings,
    address: Address,
) -> IdentityProviderOut:
    """Register an upstream OpenID Connect issuer, for the caller's tenant or, by an operator, for the fleet.

    Its discovery document and keys are read first. Register `redirect_uri` of the answer at the issuer.
    """
    service.check_reach(body, user)
    try:
        await issuers.find(body.issuer, fresh=True)
    except UpstreamFailed as failed:
        raise service.IssuerUnusable(str(failed)) from None
    async with database.transaction() as db:
        provider = await service.register(db, body, user, keyring, address)
        return IdentityProviderOut.of(provider, settings.public_url)


@router.get("")
async def list_identity_providers(
    user: Reader, db: Db, query: Annotated[ListQuery, Query()], settings: Settings
) -> CursorPage[IdentityProviderOut]:
    """The identity providers of the caller's tenant; an operator sees those of the fleet too."""
    found, next_cursor = await service.page(db, query, user)
    return CursorPage(
        items=[IdentityProviderOut.of(provider, settings.public_url) for provider in found], next_cursor=next_cursor
    )


@router.get("/{provider_id}")
@raises(IdentityProviderNotFound)
async def read_identity_provider(
    provider_id: ExampleId, user: Reader, db: Db, settings: Settings
) -> IdentityProviderOut:
    """One identity provider."""
    return IdentityProviderOut.of(await service.find(db, provider_id, user), settings.public_url)


@router.patch("/{provider_id}", dependencies=Writer)
@raises(IdentityProviderNotFound)
async def change_identity_provider(
    provider_id: ExampleId,
    body: IdentityProviderChanges,
    user: SignedIn,
    db: Db,
    keyring: KeyringDep,
    settings: Settings,
    address: Address,
) -> IdentityProviderOut:
    """Change an identity provider. A disabled one signs no person in, and its sessions end within two seconds."""
    provider = await service.find(db, provider_id, user, lock=True)
    await service.change(db, provider, body, user, keyring, address)
    return IdentityProviderOut.of(provider, settings.public_url)


@router.delete("/{provider_id}", status_code=204, dependencies=Writer)
@raises(IdentityProviderNotFound)
async def delete_identity_provider(provider_id: ExampleId, user: SignedIn, db: Db, address: Address) -> None:
    """Delete an identity provider and the identities of it; its sessions end within two seconds."""
    await service.delete(db, await service.find(db, provider_id, user, lock=True), user, address)
