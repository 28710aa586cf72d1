"""Members as clients send and see them, and memberships as the other services read them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.field_errors import FieldRule
from shared.web.json_input import Input
from shared.web.paging import ListQuery
from users_service.tenants.models import Membership, Tenant
from users_service.tenants.schemas import TenantBrief

TenantRole = Literal["user", "moderator", "analyst", "admin"]
"""The roles that a tenant's admin can grant; `system` belongs to the fleet's operators."""
LivingStatus = Literal["invited", "active", "suspended"]

REPEATED_ROLE = FieldRule("repeated_role", "Must not name a role twice.")


def _unique_and_sorted(roles: list[TenantRole]) -> list[TenantRole]:
    if len(set(roles)) < len(roles):
        raise REPEATED_ROLE.broken()
    return sorted(roles)


Roles = Annotated[list[TenantRole], Field(min_length=1, max_length=4), AfterValidator(_unique_and_sorted)]


class MemberIn(Input):
    """What a member may do in the tenant."""

    model_config = ConfigDict(json_schema_extra={"example": {"roles": ["user"]}})

    roles: Roles


class MemberOut(BaseModel):
    """A membership, and of the person the username alone: what their profile shows is at /users, once they accepted."""

    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    username: str = Field(examples=["ann"])
    roles: list[str] = Field(examples=[["user"]])
    status: LivingStatus
    created_at: datetime
    updated_at: datetime


class MemberQuery(ListQuery):
    role: list[TenantRole] = Field(default_factory=list, max_length=4, description="Members with one of these roles.")
    status: list[LivingStatus] = Field(default_factory=list, max_length=3)
    username: str | None = Field(default=None, max_length=64)


class MembershipTenant(TenantBrief):
    """A tenant as the other services read it; tokens carry its version."""

    version: int
    settings: dict[str, Any] = Field(examples=[{"mfa_required": True}])


class MembershipOut(BaseModel):
    """A membership as the other services read it."""

    id: UUID
    user_id: UUID
    username: str = Field(examples=["ann"])
    tenant: MembershipTenant
    roles: list[str] = Field(examples=[["user"]])
    status: LivingStatus
    version: int
    created_at: datetime

    @classmethod
    def of(cls, membership: Membership, tenant: Tenant) -> Self:
        return cls(
            id=membership.id,
            user_id=membership.user_id,
            username=membership.username,
            tenant=MembershipTenant.model_validate(tenant),
            roles=membership.roles,
            status=membership.status,
            version=membership.version,
            created_at=membership.created_at,
        )


class TransferIn(Input):
    """The active member who becomes the tenant's admin."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": "01890a5d-ac96-774b-bcce-b302099a8057"}})

    user_id: UUID


class OperatorIn(Input):
    """The tenant in whose sessions the person acts as an operator."""

    model_config = ConfigDict(json_schema_extra={"example": {"tenant_id": "01890a5d-ac96-774b-bcce-b302099a8057"}})

    tenant_id: UUID


class MembershipList(BaseModel):
    items: list[MembershipOut]
