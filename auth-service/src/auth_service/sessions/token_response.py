"""The answer to a sign-in and to a refresh: a session's tokens, the refresh token in the body or as a cookie."""

from typing import Annotated

from fastapi import Depends, Response

from auth_service.deps import KeyringDep, Settings
from auth_service.sessions import cookies
from auth_service.sessions.schemas import TokensOut
from auth_service.sessions.tokens import TokenMaker, Tokens
from auth_service.settings import AuthSettings
from auth_service.signing_keys.active_key import ActiveKey
from shared.deps import resource

ActiveKeyDep = Annotated[ActiveKey, resource(ActiveKey)]


async def token_maker(active_key: ActiveKeyDep, keyring: KeyringDep, settings: Settings) -> TokenMaker:
    return TokenMaker(active_key, keyring, settings.public_url)


TokenMakerDep = Annotated[TokenMaker, Depends(token_maker)]


def token_response(tokens: Tokens, response: Response, settings: AuthSettings, *, cookie: bool) -> TokensOut:
    response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
    if cookie:
        cookies.put(response, tokens.refresh_token, settings)
    return TokensOut(
        access_token=tokens.access_token,
        refresh_token=None if cookie else tokens.refresh_token,
        scope=tokens.scope,
        session_id=tokens.session_id,
        csrf_token=tokens.csrf_token if cookie else None,
    )
