"""What auth-service sends to register a person, and what it gets."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.web.json_input import Input
from users_service.members.schemas import MembershipOut
from users_service.tenants.schemas import Slug, TenantName


class NewTenant(Input):
    """The tenant that a registration creates; auth-service chose the id."""

    id: UUID
    name: TenantName
    slug: Slug


class RegistrationIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"username": "ann", "tenant": None}})

    username: Annotated[str, Field(min_length=1, max_length=64)]
    tenant: NewTenant | None


class RegistrationOut(BaseModel):
    user_id: UUID
    membership: MembershipOut | None
