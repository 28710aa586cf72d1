"""Reading and changing a tenant's settings. They are part of the tenant's row, so its events carry them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from shared.identity.principal import Principal, tenant_of
from shared.problems import AllowWrite
from users_service.tenants import service as tenants
from users_service.tenants.models import Tenant


async def change(db: AsyncSession, user: Principal, patch: Mapping[str, Any], allow: AllowWrite) -> Tenant:
    """Merge the patch into the settings of the caller's tenant (RFC 7396), if their current roles permit it."""
    tenant_id = tenant_of(user)
    await tenants.authorize_tenant_write(db, user, tenant_id, "admin:write")
    settings = (await tenants.read(db, tenant_id)).settings
    return await tenants.apply(db, tenant_id, {"settings": merged(settings, patch)}, allow)


def merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON Merge Patch makes of an object (RFC 7396, section 2). An object that is left empty goes, too."""
    result = dict(target)
    for name, change in patch.items():
        value = merged(result.pop(name, {}), change) if isinstance(change, Mapping) else change
        if value in (None, {}):
            result.pop(name, None)
        else:
            result[name] = value
    return result
