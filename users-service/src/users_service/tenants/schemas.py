"""Tenants as clients send and see them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.text import NAME
from shared.web.json_input import Input
from users_service.settings import SLUG

Tier = Literal["free", "premium", "enterprise"]
TenantStatus = Literal["active", "suspended"]


TenantName = Annotated[str, Field(min_length=1, max_length=100), NAME]
Slug = Annotated[str, Field(pattern=SLUG)]


class TenantPatch(Input):
    """A JSON Merge Patch (RFC 7396): the name by the tenant's admins, tier and status by operators of the fleet."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Acme Limited"}})

    name: TenantName | None = None
    tier: Tier | None = None
    status: TenantStatus | None = None


class TenantBrief(BaseModel):
    """A tenant as part of a membership."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    slug: str = Field(examples=["acme"])
    name: str = Field(examples=["Acme"])
    tier: Tier
    status: TenantStatus


class TenantOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    slug: str = Field(examples=["acme"])
    name: str = Field(examples=["Acme"])
    tier: Tier
    status: Literal["active", "suspended", "deleting"] = Field(validation_alias="state")
    erase_at: datetime | None = Field(description="When a tenant that is `deleting` is erased; null for any other.")
    created_at: datetime
    updated_at: datetime
