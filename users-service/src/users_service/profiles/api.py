from fastapi import Depends

from shared.deps import Conditions, CurrentUser, Db, require_scopes
from shared.field_errors import REQUIRED
from shared.problems import InvalidInput, raises
from shared.web.router import Router
from users_service.profiles import service
from users_service.profiles.schemas import ProfileIn, ProfileOut, ProfilePatch
from users_service.profiles.service import ProfileNotFound

router = Router(prefix="/api/v1", tags=["profiles"])

READ, WRITE = [Depends(require_scopes("profile:read"))], [Depends(require_scopes("profile:write"))]


@router.get("/profile", dependencies=READ)
@router.get("/users/me", dependencies=READ, name="read_me")
@raises(ProfileNotFound)
async def read_profile(user: CurrentUser, db: Db, conditions: Conditions) -> ProfileOut:
    """The caller's own profile in the tenant of their session."""
    profile = await service.read(db, user)
    conditions.shows(profile.version)
    return ProfileOut.model_validate(profile)


@router.put("/profile", dependencies=WRITE)
@router.put("/users/me", dependencies=WRITE, name="replace_me")
@raises(ProfileNotFound)
async def replace_profile(body: ProfileIn, user: CurrentUser, db: Db, conditions: Conditions) -> ProfileOut:
    """Replace the profile: fields that are left out are emptied."""
    profile = await service.change(db, user, body.model_dump(), conditions.allow_write)
    conditions.wrote(profile.version)
    return ProfileOut.model_validate(profile)


@router.patch("/profile", dependencies=WRITE)
@router.patch("/users/me", dependencies=WRITE, name="patch_me")
@raises(ProfileNotFound)
async def patch_profile(body: ProfilePatch, user: CurrentUser, db: Db, conditions: Conditions) -> ProfileOut:
    """Change the fields that are sent (RFC 7396): null empties one, a field left out stays."""
    changes = body.model_dump(exclude_unset=True)
    if changes.get("full_name", "") is None:
        raise InvalidInput(errors=[REQUIRED.at("#/full_name")])
    profile = await service.change(db, user, changes, conditions.allow_write)
    conditions.wrote(profile.version)
    return ProfileOut.model_validate(profile)
