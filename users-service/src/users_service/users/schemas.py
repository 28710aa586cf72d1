"""People as the other members of their tenant see them."""

from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import BaseModel, Field

from shared.web.paging import PagedQuery, Pagination
from users_service.members.schemas import LivingStatus, TenantRole

MAX_IDS: Final = 100


class UserQuery(PagedQuery):
    role: list[TenantRole] = Field(default_factory=list, max_length=4, description="People with one of these roles.")
    status: list[LivingStatus] = Field(
        default_factory=list,
        max_length=3,
        description="Active people if left out; any other status needs admin:read or user:write.",
    )
    username: str | None = Field(default=None, max_length=64)
    ids: list[UUID] = Field(default_factory=list, max_length=MAX_IDS, description="People with one of these ids.")


class UserOut(BaseModel):
    """A member as lists show them; `created_at` is when the membership began. Invited people have no name yet."""

    id: UUID
    username: str = Field(examples=["ann"])
    name: str | None = Field(examples=["Ann Lee"])
    roles: list[str] = Field(examples=[["user"]])
    status: LivingStatus
    created_at: datetime


class UserDetail(UserOut):
    """A member with the public part of their profile, which invited people do not show yet."""

    bio: str | None = Field(examples=["Sails."])
    locale: str | None = Field(examples=["en"])


class UserStats(BaseModel):
    """What a member has made, and who follows whom."""

    user: UserDetail
    posts_count: int = Field(description="Published posts.")
    files_count: int
    followers_count: int
    following_count: int
    account_age_days: int


class UserPage(BaseModel):
    users: list[UserOut]
    next_cursor: str | None = Field(description="Null on the last page.", examples=["WyJlMGY2…"])


class NumberedUserPage(BaseModel):
    users: list[UserOut]
    pagination: Pagination
