from typing import Any, Final

from fastapi import Depends, Response

from auth_service.accounts.models import find_account
from auth_service.deps import Settings
from auth_service.oauth_errors import NO_STORE
from auth_service.openid.discovery import metadata
from auth_service.openid.id_tokens import person_claims
from auth_service.openid.schemas import MetadataOut, UserinfoOut
from auth_service.sessions.signed_in import SignedIn
from shared.deps import Db, refuse_impersonation, require_scopes
from shared.problems import InvalidToken, raises
from shared.web.router import Router

router = Router(tags=["oauth2"])

_PERSON = [Depends(refuse_impersonation), Depends(require_scopes("openid"))]
# With two of the fleet's scopes: the example must not change with the services that are installed.
_EXAMPLE: Final = metadata("https://app.example").model_copy(update={"scopes_supported": ["jobs:read", "openid"]})
_METADATA: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"example": _EXAMPLE.model_dump()}}}
}


async def cached(response: Response) -> None:
    response.headers["Cache-Control"] = "public, max-age=300"


@router.get("/.well-known/openid-configuration", dependencies=[Depends(cached)], responses=_METADATA)
@router.get(
    "/.well-known/oauth-authorization-server",
    dependencies=[Depends(cached)],
    responses=_METADATA,
    name="read_oauth_metadata",
)
async def read_metadata(settings: Settings) -> MetadataOut:
    """Where the endpoints of this authorization server are, and what they support."""
    return metadata(settings.public_url)


@router.get("/oauth2/userinfo", dependencies=_PERSON, response_model_exclude_none=True)
@router.post(
    "/oauth2/userinfo",
    dependencies=_PERSON,
    response_model_exclude_none=True,
    name="read_userinfo_by_post",
)
@raises(InvalidToken)
async def read_userinfo(user: SignedIn, db: Db, response: Response) -> UserinfoOut:
    """The person whom the token is about, as far as its scopes say."""
    response.headers.update(NO_STORE)
    account = await find_account(db, user.user_id)
    if account is None:
        raise InvalidToken
    return UserinfoOut(**person_claims(account, user.scopes))
