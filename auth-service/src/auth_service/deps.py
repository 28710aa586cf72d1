"""The dependencies that only auth-service's path operations name; shared/deps.py has the rest."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Header, Request

from auth_service.keyring import Keyring
from auth_service.settings import AuthSettings
from shared.clients import ServiceClient, client_of
from shared.identity.tokens import ADDRESS_HEADER
from shared.identity.verifier import Verifier
from shared.resources import resource, resources_of

Settings = Annotated[AuthSettings, resource(AuthSettings)]
KeyringDep = Annotated[Keyring, resource(Keyring)]
UsersClient = Annotated[ServiceClient, client_of("users")]


async def address(request: Request) -> str:
    """The client's address as the gateway signed it; the peer's for a request that did not come through a gateway."""
    signed, verifier = request.headers.get(ADDRESS_HEADER), resources_of(request).find(Verifier)
    if signed is not None and verifier is not None and (found := verifier.client_address(signed)) is not None:
        return found
    return request.client.host if request.client else "unknown"


async def device(
    user_agent: Annotated[str | None, Header(alias="User-Agent", include_in_schema=False)] = None,
) -> str | None:
    """What the client calls itself, cut to what a list shows."""
    return user_agent[:200] if user_agent else None


async def named_tenant(
    request: Request,
    settings: Settings,
    x_tenant_id: Annotated[
        str | None, Header(alias="X-Tenant-ID", max_length=64, description="A tenant's id or slug.")
    ] = None,
) -> str | None:
    """The tenant that a request names beside its body: the subdomain, else X-Tenant-ID; None where it names none."""
    host = request.headers.get("host", "").lower().partition(":")[0]
    slug, _, parent = host.partition(".")
    if slug and parent == urlsplit(settings.public_url).hostname:
        return slug
    return x_tenant_id


Address = Annotated[str, Depends(address)]
NamedTenant = Annotated[str | None, Depends(named_tenant)]
Device = Annotated[str | None, Depends(device)]
