"""The dependencies that endpoints name: an endpoint's signature reads as a sentence."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from shared.data.session import DatabasePart, Db
from shared.identity.access import CurrentUser, require_any_scope, require_scopes
from shared.parts import Parts
from shared.web.conditional import Conditions
from shared.web.idempotency import OnceJson

_ID = "01890a5d-ac96-774b-bcce-b302099a8057"  # the example of every id in the documents: one that no object has

RoomId = Annotated[UUID, Path(examples=[_ID])]
UserId = Annotated[UUID, Path(examples=[_ID])]
NotificationId = Annotated[UUID, Path(examples=[_ID])]


async def parts(request: Request) -> Parts:
    held: Parts = request.app.state.parts
    return held


PartsOfProcess = Annotated[Parts, Depends(parts)]

__all__ = [
    "Conditions",
    "CurrentUser",
    "DatabasePart",
    "Db",
    "NotificationId",
    "OnceJson",
    "PartsOfProcess",
    "RoomId",
    "UserId",
    "require_any_scope",
    "require_scopes",
]
