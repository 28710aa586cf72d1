"""The dependencies that endpoints name: an endpoint's signature reads as a sentence."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from shared.data.session import DatabasePart, Db, FleetDb
from shared.identity.access import CurrentUser, require_any_scope, require_grant, require_scopes
from shared.web.conditional import Conditions
from shared.web.idempotency import OnceJson, OnceUpload
from users_service.settings import UsersSettings

_ID = "01890a5d-ac96-774b-bcce-b302099a8057"  # the example of every id in the documents: one that no object has

TenantId = Annotated[UUID, Path(examples=[_ID])]
UserId = Annotated[UUID, Path(examples=[_ID])]
FileId = Annotated[UUID, Path(examples=[_ID])]


async def users_settings(request: Request) -> UsersSettings:
    found: UsersSettings = request.app.state.parts.settings
    return found


Settings = Annotated[UsersSettings, Depends(users_settings)]

__all__ = [
    "Conditions",
    "CurrentUser",
    "DatabasePart",
    "Db",
    "FileId",
    "FleetDb",
    "OnceJson",
    "OnceUpload",
    "Settings",
    "TenantId",
    "UserId",
    "require_any_scope",
    "require_grant",
    "require_scopes",
]
