"""People as the other members of their tenant see them."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from shared.web.paging import ListQuery
from users_service.members.schemas import TenantRole


class UserQuery(ListQuery):
    role: list[TenantRole] = Field(default_factory=list, max_length=4, description="People with one of these roles.")
    username: str | None = Field(default=None, max_length=64)


class UserOut(BaseModel):
    """An active member; `created_at` is when the membership began."""

    id: UUID
    username: str
    full_name: str | None
    bio: str | None
    locale: str | None
    roles: list[str]
    created_at: datetime
