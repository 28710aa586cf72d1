"""Who calls, and what they may: tokens in, a Principal out. Each name says where it lives."""

from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.jwks import Jwks
from shared.identity.principal import Principal, ServiceCaller
from shared.identity.scopes import ALL_SCOPES, ROLES, scopes_of
from shared.identity.tokens import InternalVerifier, Signer
from shared.identity.trust import watch_trust
from shared.identity.verifier import Verifier

__all__ = [
    "ALL_SCOPES",
    "ROLES",
    "AccessTokenVerifier",
    "InternalVerifier",
    "Jwks",
    "Principal",
    "ServiceCaller",
    "Signer",
    "Verifier",
    "scopes_of",
    "watch_trust",
]
