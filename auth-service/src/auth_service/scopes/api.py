from typing import Annotated

from fastapi import Depends, Query, Response

from auth_service.scopes import service
from auth_service.scopes.schemas import MyScopesOut, MyScopesQuery, ScopeOut, ScopesOut, ScopesQuery
from shared.deps import CurrentUser, refuse_impersonation
from shared.identity.scopes import LISTED
from shared.web.router import Router

router = Router(prefix="/oauth2", tags=["scopes"])


@router.get("/scopes")
async def list_scopes(response: Response, query: Annotated[ScopesQuery, Query()]) -> ScopesOut:
    """Every scope of the fleet, with its meaning and the roles that grant it."""
    response.headers["Cache-Control"] = "public, max-age=300"
    found = [ScopeOut.model_validate(scope) for scope in LISTED]
    return ScopesOut(
        scopes=[
            scope
            for scope in found
            if query.category in (None, scope.category) and query.sensitive in (None, scope.sensitive)
        ]
    )


@router.get("/my-scopes", dependencies=[Depends(refuse_impersonation)])
async def list_my_scopes(user: CurrentUser, query: Annotated[MyScopesQuery, Query()]) -> MyScopesOut:
    """The scopes of the caller's token, and why others are not granted."""
    return MyScopesOut(
        scope=" ".join(sorted(user.scopes)),
        roles=sorted(user.roles),
        scopes=list(service.explained(user, service.requested(query.scope))),
    )
