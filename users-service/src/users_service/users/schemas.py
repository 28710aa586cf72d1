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
    username: str = Field(examples=["ann"])
    full_name: str | None = Field(examples=["Ann Lee"])
    bio: str | None = Field(examples=["Sails."])
    locale: str | None = Field(examples=["en"])
    roles: list[str] = Field(examples=[["user"]])
    created_at: datetime


class UserStats(BaseModel):
    """What a member has made, and who follows whom."""

    user: UserOut
    posts_count: int = Field(description="Published posts.")
    files_count: int
    followers_count: int
    following_count: int
    account_age_days: int
