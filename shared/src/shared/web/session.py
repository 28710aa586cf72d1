"""`Db`: the transaction of one HTTP request, as a dependency.

`scope="function"` makes FastAPI end it before the reply leaves, so that no client gets a 201 for a row that was not
stored (the default scope commits after the reply).
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.database import Database
from shared.identity.access import optional_user
from shared.resources import resource, resources_of

DatabaseDep = Annotated[Database, resource(Database)]


async def session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """One transaction as the caller's tenant; without a tenant when the caller is not signed in."""
    user = await optional_user(connection)
    async with resources_of(connection).get(Database).transaction(user.tenant_id if user else None) as db:
        yield db


async def fleet_session(database: DatabaseDep) -> AsyncIterator[AsyncSession]:
    """One transaction that looks across tenants, for the few tables whose policy permits it."""
    async with database.transaction(role="fleet") as db:
        yield db


Db = Annotated[AsyncSession, Depends(session, scope="function")]
FleetDb = Annotated[AsyncSession, Depends(fleet_session, scope="function")]
