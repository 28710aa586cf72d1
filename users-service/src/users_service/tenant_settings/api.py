from fastapi import Depends

from shared.deps import Conditions, CurrentUser, Db, require_scopes
from shared.identity.principal import tenant_of
from shared.problems import raises
from shared.web.router import Router
from users_service.tenant_settings import service
from users_service.tenant_settings.schemas import TenantSettings
from users_service.tenants import service as tenants
from users_service.tenants.models import Tenant
from users_service.tenants.service import TenantNotFound

router = Router(prefix="/api/v1/admin/settings", tags=["tenants"])


@router.get("", dependencies=[Depends(require_scopes("admin:read"))])
@raises(TenantNotFound)
async def read_settings(user: CurrentUser, db: Db, conditions: Conditions) -> TenantSettings:
    """What the tenant of the caller's session has decided; null: the operator's setting applies."""
    return _shown(await tenants.read(db, tenant_of(user)), conditions)


@router.patch("", dependencies=[Depends(require_scopes("admin:write"))])
@raises(TenantNotFound)
async def patch_settings(body: TenantSettings, user: CurrentUser, db: Db, conditions: Conditions) -> TenantSettings:
    """Change the settings that are sent (RFC 7396): null unsets one, a setting left out stays.

    They apply to sign-ins, refreshes, pages and mails once auth-service has read the event, within seconds.
    """
    tenant = await service.change(db, user, body.model_dump(exclude_unset=True), conditions.allow_write)
    conditions.wrote(tenant.version)
    return TenantSettings.model_validate(tenant.settings)


def _shown(tenant: Tenant, conditions: Conditions) -> TenantSettings:
    conditions.shows(tenant.version)
    return TenantSettings.model_validate(tenant.settings)
