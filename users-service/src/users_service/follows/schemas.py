"""People who follow, and who are followed, as members see them."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from shared.web.paging import ListQuery
from users_service.profiles.models import Profile


class FollowerQuery(ListQuery):
    """A class for each direction, because a cursor is valid for one query class: both lists are of the same rows."""


class FollowingQuery(ListQuery):
    """See FollowerQuery."""


class FollowOut(BaseModel):
    id: UUID
    username: str = Field(examples=["ann"])
    full_name: str | None = Field(examples=["Ann Lee"])
    since: datetime = Field(description="When the follow began; `created_at` of the list's grammar.")

    @classmethod
    def of(cls, profile: Profile, since: datetime) -> Self:
        return cls(id=profile.user_id, username=profile.username, full_name=profile.full_name, since=since)
