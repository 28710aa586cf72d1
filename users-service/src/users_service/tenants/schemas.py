"""Tenants and members as clients send and see them, and as the other services do."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.web.json_input import Input, Line
from shared.web.paging import ListQuery

Tier = Literal["free", "premium", "enterprise"]
TenantStatus = Literal["active", "suspended"]
TenantRole = Literal["user", "moderator", "analyst", "admin"]
"""What a tenant's admin grants; `system` is the operators' of the fleet and no tenant's."""
LivingStatus = Literal["invited", "active", "suspended"]


def _said_once(roles: list[TenantRole]) -> list[TenantRole]:
    if len(set(roles)) < len(roles):
        raise ValueError("names a role twice")
    return sorted(roles)


TenantName = Annotated[Line, Field(min_length=1, max_length=100)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,38}[a-z0-9]$")]
Roles = Annotated[list[TenantRole], Field(min_length=1, max_length=4), AfterValidator(_said_once)]


class TenantPatch(Input):
    """A JSON Merge Patch (RFC 7396): the name by the tenant's admins, tier and status by operators of the fleet."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Acme Limited"}})

    name: TenantName | None = None
    tier: Tier | None = None
    status: TenantStatus | None = None


class TenantBrief(BaseModel):
    """A tenant as it stands inside a membership."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    slug: str
    name: str
    tier: Tier
    status: TenantStatus


class TenantOut(TenantBrief):
    created_at: datetime
    updated_at: datetime


class MemberIn(Input):
    """What a member may do in the tenant."""

    model_config = ConfigDict(json_schema_extra={"example": {"roles": ["user"]}})

    roles: Roles


class MemberOut(BaseModel):
    """A membership, and of the person the username alone: what their profile shows is at /users, once they accepted."""

    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    username: str
    roles: list[str]
    status: LivingStatus
    created_at: datetime
    updated_at: datetime


class MemberQuery(ListQuery):
    role: list[TenantRole] = Field(default_factory=list, max_length=4, description="Members with one of these roles.")
    status: list[LivingStatus] = Field(default_factory=list, max_length=3)
    username: str | None = Field(default=None, max_length=64)


class NewTenant(Input):
    """A tenant that a registration makes; auth-service chose the id."""

    id: UUID
    name: TenantName
    slug: Slug


class RegistrationIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"username": "ann", "tenant": None}})

    username: Annotated[str, Field(min_length=1, max_length=64)]
    tenant: NewTenant | None


class MembershipOut(BaseModel):
    """A membership as the other services know it."""

    id: UUID
    user_id: UUID
    username: str
    tenant: TenantBrief
    roles: list[str]
    status: LivingStatus
    version: int
    created_at: datetime


class MembershipList(BaseModel):
    items: list[MembershipOut]


class RegistrationOut(BaseModel):
    user_id: UUID
    membership: MembershipOut | None
