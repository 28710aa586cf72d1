"""Which scopes are granted: requested ∩ roles, and why one is not."""

from collections.abc import Iterable, Sequence

from auth_service.scopes.owned import OPENID_SCOPES
from auth_service.scopes.schemas import MyScope, Reason
from shared.identity import Principal, scopes_of
from shared.identity.scopes import ALL_SCOPES
from shared.problems import MalformedRequest


class ScopeInvalid(MalformedRequest):
    """None of the requested scopes exists and is granted by the person's roles."""

    status, title = 400, "None of the scopes is granted"
    remedy = "Request scopes that GET /oauth2/my-scopes lists as granted, or none: then all are granted."


def requested(scope: str | None) -> frozenset[str] | None:
    """The scopes in a request's `scope` (RFC 6749, section 3.3); None if it does not name any."""
    return frozenset((scope or "").split()) or None


def granted(roles: Iterable[str], limited_to: Iterable[str] | None, *, to_client: bool = False) -> frozenset[str]:
    """The scopes that the roles grant, of those that a session is limited to; None: not limited.

    To an OAuth client a person of any role grants OpenID Connect's scopes too: they are about the person alone.
    """
    by_roles = scopes_of(roles) | OPENID_SCOPES if to_client else scopes_of(roles)
    return by_roles if limited_to is None else by_roles.intersection(limited_to)


def explained(user: Principal, names: frozenset[str] | None) -> Sequence[MyScope]:
    """Each of the scopes (None: all that exist), whether the token has it, and the reason if not."""
    return [_explained(user, name) for name in sorted(ALL_SCOPES if names is None else names)]


def _explained(user: Principal, name: str) -> MyScope:
    reason: Reason | None = None
    if name not in ALL_SCOPES:
        reason = "unknown"
    elif name not in scopes_of(user.roles):
        reason = "roles"
    elif name not in user.scopes:
        reason = "session"
    return MyScope(name=name, granted=reason is None, reason=reason)
