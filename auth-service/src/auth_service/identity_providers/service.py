"""The registry of identity providers: a tenant's admins register theirs, operators those for the whole fleet."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete as delete_rows
from sqlalchemy import exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import service as audit
from auth_service.audit.kinds import Kind
from auth_service.identity_providers.exchange import ClientRegistration
from auth_service.identity_providers.models import IdentityProvider
from auth_service.identity_providers.schemas import IdentityProviderChanges, IdentityProviderIn, redirect_uri
from auth_service.keyring import Keyring
from auth_service.memberships.models import Tenant
from auth_service.sessions import ending
from shared.identity import Principal
from shared.ids import new_id
from shared.problems import Conflict, InsufficientScope, NotFound, Problem
from shared.web.paging import ListQuery, by_cursor

MOST_OF_A_TENANT = 20


class IssuerUnusable(Problem):
    """The issuer's discovery document cannot be read, or it does not support what is required."""

    status, title = 422, "The issuer cannot be used"
    remedy = "Check the issuer's URL, and that it supports the code flow with PKCE (S256) and signed ID tokens."


class IdentityProviderNotFound(NotFound):
    """No such identity provider, or it is not the caller's tenant's."""

    status, title = 404, "No such identity provider"


class TooManyIdentityProviders(Conflict):
    """The tenant has as many identity providers as a tenant may have."""

    status, title = 409, "The tenant has too many identity providers"
    remedy = "Delete one that is not used."


def check_reach(body: IdentityProviderIn, user: Principal) -> None:
    """Raises InsufficientScope where the fleet's providers are not the caller's to register."""
    if (body.fleet_wide or user.tenant_id is None) and "system:write" not in user.scopes:
        raise InsufficientScope(scopes=["system:write"])


async def register(
    db: AsyncSession, body: IdentityProviderIn, user: Principal, keyring: Keyring, address: str
) -> IdentityProvider:
    """Store a provider whose issuer was read. Raises TooManyIdentityProviders."""
    tenant_id = None if body.fleet_wide else user.tenant_id
    theirs = select(func.count()).where(IdentityProvider.tenant_id == tenant_id)
    if (await db.scalar(theirs) or 0) >= MOST_OF_A_TENANT:
        raise TooManyIdentityProviders
    provider = IdentityProvider(
        id=new_id(),
        tenant_id=tenant_id,
        name=body.name,
        issuer=body.issuer,
        client_id=body.client_id,
        scopes=list(dict.fromkeys(body.scope.split())),
        created_by=user.user_id,
    )
    _set_secret(provider, body.client_secret, keyring)
    db.add(provider)
    await db.flush()
    await db.refresh(provider)
    _record(db, "identity_provider_created", provider, user, address)
    return provider


async def find(db: AsyncSession, provider_id: UUID, user: Principal, *, lock: bool = False) -> IdentityProvider:
    """The provider, for an admin of its tenant or an operator. Raises IdentityProviderNotFound."""
    provider = await db.get(IdentityProvider, provider_id, with_for_update=lock or None)
    if provider is None or not (_is_of(provider, user.tenant_id) or "system:write" in user.scopes):
        raise IdentityProviderNotFound
    return provider


async def enabled(db: AsyncSession, provider_id: UUID) -> IdentityProvider:
    """The provider that people may sign in through. Raises IdentityProviderNotFound."""
    provider = await db.get(IdentityProvider, provider_id)
    if provider is None or provider.disabled_at is not None:
        raise IdentityProviderNotFound
    return provider


async def page(db: AsyncSession, query: ListQuery, user: Principal) -> tuple[Sequence[IdentityProvider], str | None]:
    """The providers of the caller's tenant, and for an operator those of the fleet too."""
    visible = IdentityProvider.tenant_id == user.tenant_id
    if "system:write" in user.scopes:
        visible = or_(visible, IdentityProvider.tenant_id.is_(None))
    sortable = {"created_at": IdentityProvider.created_at, "name": IdentityProvider.name}
    return await by_cursor(db, select(IdentityProvider).where(visible), query, sortable, IdentityProvider.id)


async def offered(db: AsyncSession, tenant_id: UUID | None) -> Sequence[IdentityProvider]:
    """What a sign-in page offers: the fleet's providers, and those of the tenant that it is for."""
    theirs = or_(IdentityProvider.tenant_id.is_(None), IdentityProvider.tenant_id == tenant_id)
    rows = select(IdentityProvider).where(theirs, IdentityProvider.disabled_at.is_(None))
    return (await db.scalars(rows.order_by(IdentityProvider.name, IdentityProvider.id).limit(50))).all()


async def change(
    db: AsyncSession,
    provider: IdentityProvider,
    body: IdentityProviderChanges,
    user: Principal,
    keyring: Keyring,
    address: str,
) -> None:
    """Apply a merge patch. The sessions of a provider that is disabled end, everywhere within two seconds."""
    if body.name is not None:
        provider.name = body.name
    if body.client_secret is not None:
        _set_secret(provider, body.client_secret, keyring)
    if body.scope is not None:
        provider.scopes = list(dict.fromkeys(body.scope.split()))
    if body.disabled is False:
        provider.disabled_at = None
    elif body.disabled and provider.disabled_at is None:
        provider.disabled_at = func.clock_timestamp()
        await ending.end_of_provider(db, provider.id, address)
    await db.flush()
    await db.refresh(provider)
    _record(db, "identity_provider_changed", provider, user, address)


async def delete(db: AsyncSession, provider: IdentityProvider, user: Principal, address: str) -> None:
    """Delete the provider with the identities of it; its sessions end, everywhere within two seconds."""
    await ending.end_of_provider(db, provider.id, address)
    await db.delete(provider)
    _record(db, "identity_provider_deleted", provider, user, address)


async def prune(db: AsyncSession) -> None:
    """Delete the providers of tenants that were erased, with the identities of them."""
    gone = (IdentityProvider.tenant_id.is_not(None), ~exists().where(Tenant.id == IdentityProvider.tenant_id))
    await db.execute(delete_rows(IdentityProvider).where(*gone))


def registration_of(provider: IdentityProvider, keyring: Keyring, public_url: str) -> ClientRegistration:
    """Our registration at the provider's issuer, with its secret. Raises CannotDecrypt."""
    secret = provider.client_secret
    return ClientRegistration(
        client_id=provider.client_id,
        client_secret=None if secret is None else keyring.decrypt(secret, context=_context(provider)).decode(),
        redirect_uri=redirect_uri(public_url, provider.id),
        scopes=tuple(provider.scopes),
    )


def _is_of(provider: IdentityProvider, tenant_id: UUID | None) -> bool:
    return tenant_id is not None and provider.tenant_id == tenant_id


def _set_secret(provider: IdentityProvider, secret: str | None, keyring: Keyring) -> None:
    encrypted = None if secret is None else keyring.encrypt(secret.encode(), context=_context(provider))
    provider.client_secret = encrypted


def _context(provider: IdentityProvider) -> str:
    return f"identity provider {provider.id}"


def _record(db: AsyncSession, kind: Kind, provider: IdentityProvider, user: Principal, address: str) -> None:
    audit.record(
        db,
        kind,
        actor_id=user.user_id,
        session_id=user.session_id,
        tenant_id=provider.tenant_id,
        address=address,
        provider_id=str(provider.id),
        issuer=provider.issuer,
    )
