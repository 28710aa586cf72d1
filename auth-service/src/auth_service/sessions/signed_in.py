"""The signed-in person by this service's own database, which knows at once whether a session has ended."""

from typing import Annotated

from fastapi import Depends

from auth_service.sessions import service
from auth_service.sessions.models import CLIENT_ID
from auth_service.sessions.service import SessionConfined
from shared.deps import CurrentUser, DatabaseDep
from shared.identity import Principal
from shared.identity.principal import check_not_impersonated
from shared.problems import Forbidden, ImpersonationRefused, InvalidToken, raises


class ClientNotAllowed(Forbidden):
    """The operation manages the account itself, and the token is an OAuth client's."""

    status, title = 403, "An OAuth client cannot do this"
    remedy = "Sign in at POST /auth/login: only the person manages their account."


@raises(InvalidToken)
async def signed_in(user: CurrentUser, database: DatabaseDep) -> Principal:
    """The person whose token, session and account are all still valid. Raises InvalidToken."""
    row = await database.first(service.LIVE, **service.live_values(user))
    if row is None or not row[0]:
        raise InvalidToken(service.SESSION_ENDED)
    return user


SignedIn = Annotated[Principal, Depends(signed_in)]


@raises(Forbidden, ClientNotAllowed, ImpersonationRefused, SessionConfined)
async def account_owner(user: SignedIn, database: DatabaseDep) -> Principal:
    """The person by a sign-in of their own.

    Not by an OAuth client's token or a tenant's own identity provider, nor an operator who impersonates the person or a
    service that acts for them: no scope caps what it could do here. Raises InvalidToken, ClientNotAllowed,
    SessionConfined, ImpersonationRefused, Forbidden.
    """
    check_not_impersonated(user)
    if user.actor is not None:
        raise Forbidden("Only the person themselves manages their account, and no other party that acts for them.")
    if user.client_id != CLIENT_ID:
        raise ClientNotAllowed
    row = await database.first(service.CONFINED, session_id=user.session_id, user_id=user.user_id)
    if row is None or row[0]:
        raise SessionConfined
    return user


AccountOwner = Annotated[Principal, Depends(account_owner)]
