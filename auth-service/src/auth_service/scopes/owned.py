"""The scopes that auth-service owns: those of OpenID Connect (Core 1.0, sections 5.4 and 11)."""

from typing import Final

from shared.identity.scopes import Scope

SCOPES: Final = [
    Scope("openid", "Sign a person in to a client, with an ID token.", "openid"),
    Scope("profile", "The person's name and other profile claims, for a client.", "openid"),
    Scope("email", "The person's email address, for a client.", "openid", sensitive=True),
    Scope("offline_access", "A refresh token that outlives the person's visit to a client.", "openid", sensitive=True),
]
