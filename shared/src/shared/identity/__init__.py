"""Who calls, and what they may: tokens in, a Principal out. Each name says where it lives."""

from shared.identity.access import (
    CurrentUser,
    OptionalUser,
    check_recent,
    refuse_impersonation,
    require_any_scope,
    require_grant,
    require_recent,
    require_scopes,
)
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.jwks import Jwks
from shared.identity.principal import Principal, ServiceCaller
from shared.identity.revocations import Revocations
from shared.identity.scopes import ALL_SCOPES, ROLES, scopes_of
from shared.identity.tokens import InternalVerifier, Signer
from shared.identity.trust import watch_trust
from shared.identity.verifier import Verifier

__all__ = [
    "ALL_SCOPES",
    "ROLES",
    "AccessTokenVerifier",
    "CurrentUser",
    "InternalVerifier",
    "Jwks",
    "OptionalUser",
    "Principal",
    "Revocations",
    "ServiceCaller",
    "Signer",
    "Verifier",
    "check_recent",
    "refuse_impersonation",
    "require_any_scope",
    "require_grant",
    "require_recent",
    "require_scopes",
    "scopes_of",
    "watch_trust",
]
