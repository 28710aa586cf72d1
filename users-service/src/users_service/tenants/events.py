"""What the slice publishes: a tenant's state after the change, for projections."""

from typing import Any, ClassVar, Self

from shared.events import Event
from users_service.tenants.models import Tenant

_TENANT: dict[str, object] = {"slug": "acme", "name": "Acme Ltd", "tier": "free", "status": "active", "settings": {}}


class TenantEvent(Event):
    """A tenant as it is after the change; `subject` is the tenant's id."""

    slug: str
    name: str
    tier: str
    status: str
    settings: dict[str, Any] | None = None
    """What the tenant has set for its members' sign-ins, pages and mails; None in events of earlier releases."""

    @classmethod
    def of(cls, tenant: Tenant) -> Self:
        return cls(
            subject=tenant.tenant_id,
            tenant_id=tenant.tenant_id,
            subject_version=tenant.version,
            slug=tenant.slug,
            name=tenant.name,
            tier=tenant.tier,
            status=tenant.status,
            settings=tenant.settings,
        )


class TenantCreated(TenantEvent):
    """A tenant was created."""

    type: ClassVar[str] = "tenant.created.v1"
    example: ClassVar[dict[str, object]] = _TENANT


class TenantUpdated(TenantEvent):
    """A tenant's name, tier or settings changed."""

    type: ClassVar[str] = "tenant.updated.v1"
    example: ClassVar[dict[str, object]] = {**_TENANT, "tier": "premium", "settings": {"mfa_required": True}}


class TenantSuspended(TenantEvent):
    """An operator suspended a tenant: its members are refused until it is resumed."""

    type: ClassVar[str] = "tenant.suspended.v1"
    example: ClassVar[dict[str, object]] = {**_TENANT, "status": "suspended"}


class TenantResumed(TenantEvent):
    """A suspended tenant is active again."""

    type: ClassVar[str] = "tenant.resumed.v1"
    example: ClassVar[dict[str, object]] = _TENANT


class TenantErased(TenantEvent):
    """A tenant is gone and its slug is free: its admin deleted it, or its registration was never finished."""

    type: ClassVar[str] = "tenant.erased.v1"
    example: ClassVar[dict[str, object]] = _TENANT
