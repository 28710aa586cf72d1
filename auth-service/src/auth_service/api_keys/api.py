"""API keys: made, listed and revoked by their person, redeemed by the gateway."""

from typing import Annotated

from fastapi import Depends, Query, Response

from auth_service.api_keys import service
from auth_service.api_keys.flow import Redemption, create_key
from auth_service.api_keys.schemas import ApiKeyIn, ApiKeyOut, NewApiKeyOut, RedeemedKeyOut, RedeemKeyIn
from auth_service.api_keys.service import ApiKeyLimitReached, ApiKeyNotFound
from auth_service.deps import Address, Settings, UsersClient
from auth_service.mails.deps import MailsDep
from auth_service.sessions.signed_in import AccountOwner
from shared.deps import DatabaseDep, Db, ExampleId, require_grant, require_scopes
from shared.problems import InsufficientUserAuthentication, InvalidToken, NoTenant, raises
from shared.web.paging import CursorPage, ListQuery
from shared.web.router import Router

router = Router(tags=["api keys"])

_READ, _WRITE = Depends(require_scopes("api-keys:read")), Depends(require_scopes("api-keys:write"))


@router.post("/auth/api-keys", status_code=201, dependencies=[_WRITE])
@raises(ApiKeyLimitReached, InsufficientUserAuthentication, NoTenant)
async def create_api_key(
    body: ApiKeyIn,
    user: AccountOwner,
    db: Db,
    mails: MailsDep,
    settings: Settings,
    address: Address,
    response: Response,
) -> NewApiKeyOut:
    """A new API key of the caller in their tenant. The answer shows it; no other answer ever does.

    A program sends it as `X-API-Key`. It acts as the person, with its own scopes of those that the person's roles grant
    at that time, and ends with the membership and the account. It cannot manage API keys, sessions, passwords or
    consents.
    """
    response.headers["Cache-Control"] = "no-store"
    made, key = await create_key(db, user, body, mails, settings, address)
    return NewApiKeyOut(**ApiKeyOut.model_validate(made).model_dump(), key=key)


@router.get("/auth/api-keys", dependencies=[_READ])
@raises(NoTenant)
async def list_api_keys(user: AccountOwner, db: Db, query: Annotated[ListQuery, Query()]) -> CursorPage[ApiKeyOut]:
    """The caller's API keys in their tenant, without their secrets."""
    found, next_cursor = await service.page(db, user, query)
    return CursorPage(items=[ApiKeyOut.model_validate(key) for key in found], next_cursor=next_cursor)


@router.delete("/auth/api-keys/{key_id}", status_code=204, dependencies=[_WRITE])
@raises(ApiKeyNotFound, NoTenant)
async def revoke_api_key(key_id: ExampleId, user: AccountOwner, db: Db, address: Address) -> None:
    """Revoke an API key of the caller: no gateway accepts it two seconds later."""
    await service.revoke(db, user, key_id, address)


@router.post("/internal/api-keys/redeem", dependencies=[Depends(require_grant("api-keys:redeem"))])
@raises(InvalidToken)
async def redeem_api_key(
    body: RedeemKeyIn, database: DatabaseDep, users: UsersClient, settings: Settings
) -> RedeemedKeyOut:
    """The identity behind an API key."""
    claims = await Redemption(database, users, settings.public_url).redeem(body.key, confirm=body.confirm)
    return RedeemedKeyOut(claims=claims)
