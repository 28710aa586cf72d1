"""`Db`: the transaction of one HTTP request, as a dependency.

`scope="function"` makes FastAPI end it before the reply leaves, so that nobody is told 201 about a row that is not
there (the default scope commits after the reply).
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.database import Database
from shared.identity.access import OptionalUser


async def database(request: Request) -> Database:
    result: Database = request.app.state.parts.database
    return result


async def session(database: "DatabasePart", user: OptionalUser) -> AsyncIterator[AsyncSession]:
    """One transaction as the caller's tenant; as no tenant where nobody is signed in."""
    async with database.transaction(user.tenant_id if user else None) as db:
        yield db


async def fleet_session(database: "DatabasePart") -> AsyncIterator[AsyncSession]:
    """One transaction that looks across tenants, for the few tables whose policy lets it."""
    async with database.transaction(role="fleet") as db:
        yield db


DatabasePart = Annotated[Database, Depends(database)]
Db = Annotated[AsyncSession, Depends(session, scope="function")]
FleetDb = Annotated[AsyncSession, Depends(fleet_session, scope="function")]
