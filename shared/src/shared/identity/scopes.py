"""Every scope of the fleet, and which of them each role grants. No token carries more than its roles grant."""

from collections.abc import Iterable
from typing import Final


def _scopes(*patterns: str) -> frozenset[str]:
    """`files:read|write` stands for `files:read` and `files:write`."""
    found: set[str] = set()
    for pattern in patterns:
        noun, _, verbs = pattern.partition(":")
        found |= {f"{noun}:{verb}" for verb in verbs.split("|")} if verbs else {noun}
    return frozenset(found)


OPENID_SCOPES: Final = _scopes("openid", "profile", "email", "offline_access")
"""OpenID Connect's own (Core 1.0, section 5.4): a client asks for them and the person consents."""

API_SCOPES: Final = _scopes(
    "user:read|write|delete",
    "profile:read|write",
    "tenant:read|write",
    "admin:read|write|delete",
    "posts:read|write|delete",
    "files:read|write|delete",
    "analytics:read|write",
    "moderation:read|write",
    "chat:read|write|moderate",
    "notifications:read|write",
    "jobs:read|write",
    "email:send",
    "system:read|write",
)

ALL_SCOPES: Final = API_SCOPES | OPENID_SCOPES

_USER = _scopes(
    "user:read",
    "profile:read|write",
    "posts:read|write",
    "files:read|write",
    "chat:read|write",
    "notifications:read|write",
    "jobs:read|write",
)

SCOPES_OF_ROLE: Final[dict[str, frozenset[str]]] = {
    "user": _USER,
    "analyst": _USER | _scopes("analytics:read", "moderation:read"),
    "moderator": _USER | _scopes("posts:delete", "moderation:read|write", "chat:moderate"),
    "admin": API_SCOPES - _scopes("system:read|write"),  # everything inside the tenant; the fleet is no tenant's
    "system": ALL_SCOPES,
}

ROLES: Final = frozenset(SCOPES_OF_ROLE)


def scopes_of(roles: Iterable[str]) -> frozenset[str]:
    """What the roles grant together. A role that this release does not know grants nothing."""
    return frozenset().union(*(SCOPES_OF_ROLE.get(role, frozenset()) for role in roles))
