"""The scopes that auth-service owns: those of OpenID Connect (Core 1.0, sections 5.4 and 11), and of API keys."""

from typing import Final

from shared.identity.scopes import EVERY_ROLE, Scope

SCOPES: Final = [
    Scope("openid", "Sign a person in to a client, with an ID token.", "openid"),
    Scope("profile", "The person's name and other profile claims, for a client.", "openid"),
    Scope("email", "The person's email address, for a client.", "openid", sensitive=True),
    Scope("offline_access", "A refresh token that outlives the person's visit to a client.", "openid", sensitive=True),
    Scope("api-keys:read", "List the caller's API keys.", "api keys", EVERY_ROLE),
    Scope("api-keys:write", "Create and revoke the caller's API keys.", "api keys", EVERY_ROLE, sensitive=True),
]

OPENID_SCOPES: Final = frozenset(scope.name for scope in SCOPES if scope.category == "openid")
