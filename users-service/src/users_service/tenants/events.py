"""What the slice publishes: a tenant's or a membership's state after the change, for projections of it."""

from typing import ClassVar, Self
from uuid import UUID

from shared.events import Event
from users_service.tenants.models import Membership, Tenant

_TENANT: dict[str, object] = {"slug": "acme", "name": "Acme Ltd", "tier": "free", "status": "active"}
_MEMBERSHIP: dict[str, object] = {
    "user_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "username": "ann",
    "roles": ["user"],
    "status": "active",
}


class TenantEvent(Event):
    """A tenant as it is after the change; `subject` is the tenant's id."""

    slug: str
    name: str
    tier: str
    status: str

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
        )


class TenantCreated(TenantEvent):
    """A tenant was made."""

    type: ClassVar[str] = "tenant.created.v1"
    example: ClassVar[dict[str, object]] = _TENANT


class TenantUpdated(TenantEvent):
    """A tenant's name or tier changed."""

    type: ClassVar[str] = "tenant.updated.v1"
    example: ClassVar[dict[str, object]] = {**_TENANT, "tier": "premium"}


class TenantSuspended(TenantEvent):
    """An operator suspended a tenant: nobody acts in it until it is resumed."""

    type: ClassVar[str] = "tenant.suspended.v1"
    example: ClassVar[dict[str, object]] = {**_TENANT, "status": "suspended"}


class TenantResumed(TenantEvent):
    """A suspended tenant is active again."""

    type: ClassVar[str] = "tenant.resumed.v1"
    example: ClassVar[dict[str, object]] = _TENANT


class TenantErased(TenantEvent):
    """A tenant is gone and its slug is free: the registration that brought it was never finished."""

    type: ClassVar[str] = "tenant.erased.v1"
    example: ClassVar[dict[str, object]] = _TENANT


class MembershipEvent(Event):
    """A membership as it is after the change; `subject` is its id, the same for a person in a tenant for ever."""

    user_id: UUID
    username: str
    roles: list[str]
    status: str

    @classmethod
    def of(cls, membership: Membership) -> Self:
        return cls(
            subject=membership.id,
            tenant_id=membership.tenant_id,
            subject_version=membership.version,
            user_id=membership.user_id,
            username=membership.username,
            roles=membership.roles,
            status=membership.status,
        )


class MembershipGranted(MembershipEvent):
    """A person became a member, or was taken up again after the membership had ended."""

    type: ClassVar[str] = "membership.granted.v1"
    example: ClassVar[dict[str, object]] = {**_MEMBERSHIP, "status": "invited"}


class MembershipChanged(MembershipEvent):
    """A member's roles or status changed."""

    type: ClassVar[str] = "membership.changed.v1"
    example: ClassVar[dict[str, object]] = _MEMBERSHIP


class MembershipRevoked(MembershipEvent):
    """A membership ended; the roles are those that it had."""

    type: ClassVar[str] = "membership.revoked.v1"
    example: ClassVar[dict[str, object]] = {**_MEMBERSHIP, "status": "ended"}
