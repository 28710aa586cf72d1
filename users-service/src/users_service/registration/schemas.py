"""What auth-service sends to register a person, what it gets, and what a member sends to create another tenant."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.web.birth_dates import BirthDate
from shared.web.json_input import Input
from users_service.members.schemas import MembershipOut
from users_service.profiles.schemas import Newsletter
from users_service.tenants.schemas import Slug, TenantName


class NewTenant(Input):
    """The tenant that a registration creates; auth-service chose the id."""

    id: UUID
    name: TenantName
    slug: Slug


class TenantIn(Input):
    """A tenant whose first admin is the caller. The slug names it in URLs and subdomains, and never changes."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Acme Limited", "slug": "acme"}})

    name: TenantName
    slug: Slug


class RegistrationIn(Input):
    model_config = ConfigDict(
        json_schema_extra={"example": {"username": "ann", "join": "01890a5d-ac96-774b-bcce-b302099a8057"}}
    )

    username: Annotated[str, Field(min_length=1, max_length=64)]
    tenant: NewTenant | None = Field(default=None, description="Without it: `join`, or else the default tenant.")
    join: UUID | None = Field(
        default=None, description="The tenant that the person joins as a user, if it is not the default."
    )
    birth_date: BirthDate | None = None
    newsletter: Newsletter = False


class RegistrationOut(BaseModel):
    user_id: UUID
    membership: MembershipOut | None
