"""The answer to a sign-in and to a refresh: a session's tokens, the refresh token in the body or as a cookie."""

from typing import Annotated

from fastapi import Response

from auth_service.sessions import cookies
from auth_service.sessions.schemas import TokensOut
from auth_service.sessions.tokens import TokenMaker, Tokens
from auth_service.settings import AuthSettings
from auth_service.signing_keys.active_key import ActiveKey
from shared.deps import resource

ActiveKeyDep = Annotated[ActiveKey, resource(ActiveKey)]
TokenMakerDep = Annotated[TokenMaker, resource(TokenMaker)]


def token_response(tokens: Tokens, response: Response, settings: AuthSettings, *, cookie: bool) -> TokensOut:
    response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
    if cookie:
        cookies.put(response, tokens.refresh_token, settings, remembered=tokens.remembered)
    return TokensOut(
        access_token=tokens.access_token,
        refresh_token=None if cookie else tokens.refresh_token,
        expires_in=tokens.expires_in,
        scope=tokens.scope,
        session_id=tokens.session_id,
        csrf_token=tokens.csrf_token if cookie else None,
    )
