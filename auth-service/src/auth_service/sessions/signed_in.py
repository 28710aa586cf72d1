"""The signed-in person by this service's own database, which knows at once whether a session has ended."""

from typing import Annotated

from fastapi import Depends

from auth_service.sessions import service
from shared.deps import CurrentUser, DatabaseDep
from shared.identity import Principal
from shared.problems import InvalidToken


async def signed_in(user: CurrentUser, database: DatabaseDep) -> Principal:
    """The person whose token, session and account are all still valid. Raises InvalidToken."""
    async with database.transaction() as db:
        if not await service.is_live(db, user):
            raise InvalidToken(service.SESSION_ENDED)
    return user


SignedIn = Annotated[Principal, Depends(signed_in)]
