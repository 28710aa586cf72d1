from typing import Final

from fastapi import Depends

from shared.deps import Conditions, CurrentUser, refuse_impersonation, require_recent, require_scopes
from shared.problems import raises
from shared.web.router import Router
from users_service.deps import Settings, TenantId
from users_service.tenant_deletion import service
from users_service.tenants.schemas import TenantOut
from users_service.tenants.service import TenantNotFound
from users_service.tenants.transactions import OwnTenantDb

router = Router(prefix="/api/v1/tenants", tags=["tenants"])

_RECENT_S: Final = 600
_DELETE: Final = [
    Depends(refuse_impersonation),
    Depends(require_scopes("tenant:write")),
    Depends(require_recent(max_age_s=_RECENT_S)),
]


@router.delete("/{tenant_id}", status_code=202, dependencies=_DELETE)
@raises(TenantNotFound)
async def delete_tenant(
    tenant_id: TenantId, user: CurrentUser, db: OwnTenantDb, settings: Settings, conditions: Conditions
) -> TenantOut:
    """Delete the tenant with all that is in it, at `erase_at`, by an admin who signed in within ten minutes.

    Until then it is closed to its members, as if suspended, within 2 s; an operator of the fleet can take it back.
    """
    tenant = await service.mark(db, user, tenant_id, conditions.allow_write, settings.deletion.grace_s)
    conditions.wrote(tenant.version)
    return TenantOut.model_validate(tenant)
