"""The dependencies that path operations of every service name; a service's own deps.py holds its own only.

`IdempotentJson` and `IdempotentUpload` are in shared/web/idempotency.py: importing them adds a table to the service.
All are coroutines: FastAPI runs plain functions in threads, which costs more than they do and makes them race.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Path
from redis.asyncio import Redis

from shared.clients import client_of
from shared.identity.access import (
    CurrentUser,
    OptionalUser,
    RevocationsDep,
    refuse_impersonation,
    require_any_scope,
    require_grant,
    require_recent,
    require_scopes,
)
from shared.resources import resource
from shared.web.conditional import Conditions
from shared.web.session import DatabaseDep, Db, FleetDb

_ID = "01890a5d-ac96-774b-bcce-b302099a8057"  # the example of every id in the documents: no object has it

ExampleId = Annotated[UUID, Path(examples=[_ID])]
UserId = ExampleId
Cache = Annotated[Redis, resource(Redis)]

__all__ = [
    "Cache",
    "Conditions",
    "CurrentUser",
    "DatabaseDep",
    "Db",
    "ExampleId",
    "FleetDb",
    "OptionalUser",
    "RevocationsDep",
    "UserId",
    "client_of",
    "refuse_impersonation",
    "require_any_scope",
    "require_grant",
    "require_recent",
    "require_scopes",
    "resource",
]
