"""Reading and changing the caller's profile."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import outbox
from shared.identity import Principal
from shared.problems import AllowWrite, NotFound
from users_service.profiles import models
from users_service.profiles.events import UserUpdated
from users_service.profiles.models import Profile


class ProfileNotFound(NotFound):
    """The caller has no profile in this tenant, because they are no longer a member of it."""

    status, title = 404, "No profile in this tenant"


async def read(db: AsyncSession, user: Principal) -> Profile:
    return await _own(db, user, for_update=False)


async def change(db: AsyncSession, user: Principal, changes: dict[str, Any], allow: AllowWrite) -> Profile:
    """Set the fields in `changes`; the profile that results. Unchanged values make no version and no event."""
    profile = await _own(db, user, for_update=True)
    allow(profile.version)
    news = {name: value for name, value in changes.items() if getattr(profile, name) != value}
    if not news:
        return profile
    for name, value in news.items():
        setattr(profile, name, value)
    profile.version += 1
    await db.flush()
    await db.refresh(profile)
    updated = UserUpdated(
        subject=user.user_id, tenant_id=profile.tenant_id, subject_version=profile.version, username=profile.username
    )
    outbox.add(db, updated)
    return profile


async def _own(db: AsyncSession, user: Principal, *, for_update: bool) -> Profile:
    found = None
    if user.tenant_id is not None:
        found = await models.find(db, user.tenant_id, user.user_id, for_update=for_update)
    if found is None:
        raise ProfileNotFound
    return found
