"""What the slice publishes: a membership's state after the change, for projections."""

from typing import ClassVar, Self
from uuid import UUID

from shared.events import Event
from users_service.tenants.models import Membership

_MEMBERSHIP: dict[str, object] = {
    "user_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "username": "ann",
    "roles": ["user"],
    "status": "active",
}


class MembershipEvent(Event):
    """A membership as it is after the change; `subject` is its id, always the same for a person in a tenant."""

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
    """A person became a member, or was invited again after the membership had ended."""

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
