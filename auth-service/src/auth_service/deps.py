"""The dependencies that endpoints name: an endpoint's signature reads as a sentence.

All are coroutines: FastAPI would run plain functions in threads, which costs more than they do and makes them race.
"""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Header, Request

from auth_service.keyring import Keyring
from auth_service.settings import AuthSettings
from shared.clients import ServiceClient
from shared.data.session import DatabasePart, Db, FleetDb
from shared.identity.access import CurrentUser, require_grant
from shared.parts import Parts


async def parts(request: Request) -> Parts:
    held: Parts = request.app.state.parts
    return held


PartsOfProcess = Annotated[Parts, Depends(parts)]


async def settings(request: Request) -> AuthSettings:
    found: AuthSettings = request.app.state.parts.settings
    return found


async def users_client(parts: PartsOfProcess) -> ServiceClient:
    return parts.client("users")


async def keyring(request: Request) -> Keyring:
    held: Keyring = request.app.state.keyring
    return held


async def address(request: Request) -> str:
    """Where the request came from; behind the gateway the server has read it from the forwarded header by then."""
    return request.client.host if request.client else "unknown"


async def device(
    user_agent: Annotated[str | None, Header(alias="User-Agent", include_in_schema=False)] = None,
) -> str | None:
    """What the client calls itself, cut to what a list shows."""
    return user_agent[:200] if user_agent else None


async def named_tenant(
    request: Request,
    settings: Annotated[AuthSettings, Depends(settings)],
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


Settings = Annotated[AuthSettings, Depends(settings)]
UsersClient = Annotated[ServiceClient, Depends(users_client)]
KeyringPart = Annotated[Keyring, Depends(keyring)]
Address = Annotated[str, Depends(address)]
NamedTenant = Annotated[str | None, Depends(named_tenant)]
Device = Annotated[str | None, Depends(device)]

__all__ = [
    "Address",
    "CurrentUser",
    "DatabasePart",
    "Db",
    "Device",
    "FleetDb",
    "KeyringPart",
    "NamedTenant",
    "PartsOfProcess",
    "Settings",
    "UsersClient",
    "require_grant",
]
