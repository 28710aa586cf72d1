from typing import Annotated

from fastapi import Depends, Response

from auth_service.deps import Address, Device, Settings, UsersClient
from auth_service.impersonation import service
from auth_service.impersonation.flow import Impersonation
from auth_service.impersonation.schemas import ImpersonationIn, ImpersonationTokenOut
from auth_service.impersonation.service import NotImpersonable, PersonNotInTenant
from auth_service.oauth_errors import NO_STORE
from auth_service.sessions.schemas import SessionsEnded
from auth_service.sessions.signed_in import AccountOwner
from auth_service.sessions.token_response import TokenMakerDep
from shared.deps import DatabaseDep, Db, refuse_impersonation, require_scopes
from shared.problems import InsufficientUserAuthentication, NoTenant, raises
from shared.web.router import Router

router = Router(prefix="/auth/impersonate", tags=["impersonation"])


async def impersonation_flow(
    database: DatabaseDep,
    users: UsersClient,
    tokens: TokenMakerDep,
    settings: Settings,
    address: Address,
    device: Device,
) -> Impersonation:
    return Impersonation(database, users, tokens, settings, address, device)


ImpersonationDep = Annotated[Impersonation, Depends(impersonation_flow)]


@router.post(
    "", status_code=201, dependencies=[Depends(refuse_impersonation), Depends(require_scopes(service.PERMISSION))]
)
@raises(InsufficientUserAuthentication, NoTenant, NotImpersonable, PersonNotInTenant)
async def impersonate(
    body: ImpersonationIn, operator: AccountOwner, impersonation: ImpersonationDep, response: Response
) -> ImpersonationTokenOut:
    """Act as a person in one of their tenants, for 15 minutes: for operators who have confirmed recently.

    The person sees it in their sessions and audit, with the reason, and can end it. The token has the person's scopes
    in the tenant. It is refused where a person manages their account (403 `impersonation_refused`).
    """
    response.headers.update(NO_STORE)
    tokens = await impersonation.begin(operator, body)
    return ImpersonationTokenOut(
        access_token=tokens.access_token,
        expires_in=tokens.expires_in,
        scope=tokens.scope,
        session_id=tokens.session_id,
    )


@router.delete("")
async def end_impersonations(operator: AccountOwner, db: Db, address: Address) -> SessionsEnded:
    """End all impersonations that the caller has begun. POST /auth/logout with such a token ends one."""
    return SessionsEnded(sessions_ended=await service.end_by_operator(db, operator, address))
