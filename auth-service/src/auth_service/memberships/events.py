"""What the projection reads of users-service's events."""

from typing import Any, ClassVar, Literal
from uuid import UUID

from shared.events import Consumed


class TenantEvent(Consumed):
    """How a tenant is now."""

    slug: str
    name: str
    tier: str
    status: Literal["active", "suspended"]
    settings: dict[str, Any] | None = None
    """None: not reported, so what is stored stays."""


class TenantCreated(TenantEvent):
    type: ClassVar[str] = "tenant.created.v1"


class TenantUpdated(TenantEvent):
    type: ClassVar[str] = "tenant.updated.v1"


class TenantSuspended(TenantEvent):
    type: ClassVar[str] = "tenant.suspended.v1"


class TenantResumed(TenantEvent):
    type: ClassVar[str] = "tenant.resumed.v1"


class TenantErased(Consumed):
    """The tenant is gone."""

    type: ClassVar[str] = "tenant.erased.v1"


class MembershipEvent(Consumed):
    """How a membership is now; its version is counted over all three types."""

    user_id: UUID
    roles: list[str]
    status: str


class MembershipGranted(MembershipEvent):
    type: ClassVar[str] = "membership.granted.v1"


class MembershipChanged(MembershipEvent):
    type: ClassVar[str] = "membership.changed.v1"


class MembershipRevoked(MembershipEvent):
    type: ClassVar[str] = "membership.revoked.v1"
