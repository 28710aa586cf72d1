"""Registering clients, changing and ending them. Only a secret's hash is stored: 256 random bits need no argon2."""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import delete as delete_rows
from sqlalchemy import exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import service as audit
from auth_service.audit.kinds import Kind
from auth_service.clients.models import Client
from auth_service.clients.redirect_uris import REDIRECT_URI, registered
from auth_service.clients.schemas import ClientChanges, ClientIn, ClientMetadata
from auth_service.memberships.models import Tenant
from auth_service.revocations import service as revocations
from auth_service.sessions import ending
from shared.identity import Principal, scopes_of
from shared.problems import Forbidden, InsufficientScope, InvalidInput, NotFound
from shared.web.paging import ListQuery, by_cursor

_SECRET_BYTES: Final = 32


class ClientNotFound(NotFound):
    """No such client, or it is another tenant's."""

    status, title = 404, "No such client"


class RolesExceeded(Forbidden):
    """A client's roles would grant scopes that the caller's token does not have."""

    status, title = 403, "You cannot grant these roles"
    remedy = "Grant only roles whose scopes your own token has."


class SecretNotUsed(InvalidInput):
    """The client does not authenticate by a secret."""

    status, title = 422, "This client has no secret"
    remedy = "Register a client with token_endpoint_auth_method client_secret_basic or client_secret_post."


async def register(db: AsyncSession, body: ClientMetadata, user: Principal, address: str) -> tuple[Client, str | None]:
    """A new client of the caller's tenant, and its secret if it authenticates by one.

    Raises InsufficientScope, RolesExceeded.
    """
    own = body if isinstance(body, ClientIn) else None
    fleet_wide = own is not None and own.fleet_wide
    secret, digest = _new_secret() if body.token_endpoint_auth_method.startswith("client_secret") else (None, None)
    client = Client(
        tenant_id=None if fleet_wide else user.tenant_id,
        name=body.client_name,
        auth_method=body.token_endpoint_auth_method,
        secret_digest=digest,
        jwks=body.jwks,
        native=body.application_type == "native",
        first_party=own is not None and own.first_party,
        redirect_uris=list(body.redirect_uris),
        post_logout_redirect_uris=list(body.post_logout_redirect_uris),
        backchannel_logout_uri=body.backchannel_logout_uri,
        grant_types=list(dict.fromkeys(body.grant_types)),
        scopes=sorted(set(body.scope.split())),
        roles=sorted(set(own.roles)) if own is not None else [],
        resources=list(body.resources),
        dpop_bound=body.dpop_bound_access_tokens,
        require_par=body.require_pushed_authorization_requests,
        created_by=user.user_id,
    )
    _check_privileges(client, user)
    db.add(client)
    await db.flush()
    await db.refresh(client)
    _record(db, "client_registered", client, user, address)
    return client, secret


async def find(db: AsyncSession, client_id: UUID, user: Principal, *, lock: bool = False) -> Client:
    """The client, for an admin of its tenant or an operator. Raises ClientNotFound.

    A lock leaves the row's key to others: what ends a session has that session's lock, and then refers to its client.
    """
    client = await db.get(Client, client_id, with_for_update={"key_share": True} if lock else None)
    if client is None or not (client.tenant_id == user.tenant_id or "system:write" in user.scopes):
        raise ClientNotFound
    return client


async def page(db: AsyncSession, query: ListQuery, user: Principal) -> tuple[Sequence[Client], str | None]:
    """The clients of the caller's tenant, and for an operator those of the fleet too."""
    visible = Client.tenant_id == user.tenant_id
    rows = select(Client).where(or_(visible, Client.tenant_id.is_(None)) if "system:write" in user.scopes else visible)
    return await by_cursor(db, rows, query, {"created_at": Client.created_at, "name": Client.name}, Client.id)


async def change(db: AsyncSession, client: Client, body: ClientChanges, user: Principal, address: str) -> None:
    """Apply a merge patch. A disabled client's sessions and tokens end, everywhere within two seconds.

    Raises InvalidInput; InsufficientScope, RolesExceeded where the caller could not register such a client: who changes
    where its codes are sent, or its keys, acts as it. Any admin of the tenant may disable it.
    """
    if body.model_fields_set != {"disabled"} or not body.disabled:
        _check_privileges(client, user)
    if body.client_name is not None:
        client.name = body.client_name
    if body.redirect_uris is not None:
        client.redirect_uris = _uris(body.redirect_uris, client, "redirect_uris")
    if body.post_logout_redirect_uris is not None:
        client.post_logout_redirect_uris = _uris(body.post_logout_redirect_uris, client, "post_logout_redirect_uris")
    if "backchannel_logout_uri" in body.model_fields_set:
        client.backchannel_logout_uri = body.backchannel_logout_uri
    if body.jwks is not None:
        client.jwks = body.jwks
    if body.scope is not None:
        client.scopes = sorted(set(body.scope.split()))
    if body.disabled is False:
        client.disabled_at = None
    elif body.disabled and client.disabled_at is None:
        client.disabled_at = func.clock_timestamp()
        await _end_tokens(db, client, address)
    await db.flush()
    await db.refresh(client)
    _record(db, "client_changed", client, user, address)


async def rotate_secret(db: AsyncSession, client: Client, user: Principal, address: str) -> str:
    """A new secret, which replaces the one before at once.

    Raises SecretNotUsed; InsufficientScope, RolesExceeded where the caller could not register such a client.
    """
    _check_privileges(client, user)
    if not client.auth_method.startswith("client_secret"):
        raise SecretNotUsed
    secret, client.secret_digest = _new_secret()
    await db.flush()
    _record(db, "client_secret_rotated", client, user, address)
    return secret


async def delete(db: AsyncSession, client: Client, user: Principal, address: str) -> None:
    """Delete the client; its sessions and tokens end, everywhere within two seconds."""
    await _end_tokens(db, client, address)
    await db.delete(client)
    _record(db, "client_deleted", client, user, address)


async def prune(db: AsyncSession) -> None:
    """Delete the clients of tenants that were erased, whose tokens ended long before."""
    gone = (Client.tenant_id.is_not(None), ~exists().where(Tenant.id == Client.tenant_id))
    await db.execute(delete_rows(Client).where(*gone))


def digest(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def _new_secret() -> tuple[str, bytes]:
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return secret, digest(secret)


async def _end_tokens(db: AsyncSession, client: Client, address: str) -> None:
    """End the client's tokens of people, and those of its own, whose `sid` is its id."""
    await ending.end_of_removed_client(db, client.id, address)
    await revocations.end_session(db, client.id)


def _check_privileges(client: Client, user: Principal) -> None:
    """Raises InsufficientScope, RolesExceeded for a client that acts with more than the caller's token has."""
    if (client.first_party or client.tenant_id is None) and "system:write" not in user.scopes:
        raise InsufficientScope(scopes=["system:write"])
    if client.roles and "tenant:write" not in user.scopes:
        raise InsufficientScope(scopes=["tenant:write"])
    if not scopes_of(client.roles) <= user.scopes:
        raise RolesExceeded


def _uris(uris: Collection[str], client: Client, field: str) -> list[str]:
    for position, uri in enumerate(uris):
        try:
            registered(uri, native=client.native)
        except ValueError:
            raise InvalidInput(errors=[REDIRECT_URI.at(f"#/{field}/{position}")]) from None
    return list(uris)


def _record(db: AsyncSession, kind: Kind, client: Client, user: Principal, address: str) -> None:
    audit.record(
        db,
        kind,
        account_id=user.user_id,
        session_id=user.session_id,
        tenant_id=client.tenant_id,
        address=address,
        client_id=str(client.id),
    )
