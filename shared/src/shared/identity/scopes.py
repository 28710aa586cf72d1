"""Scopes, and which of them each role grants. No token carries more than its roles grant.

Each service declares the scopes that it owns in its `Service(...)`. `make contracts` merges them into scopes.json, the
one list that every process reads; a declaration that is not merged yet has no effect.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal, TypeAlias

Role: TypeAlias = Literal["user", "analyst", "moderator", "admin"]
"""A role that a tenant gives. `system`, the operators' role, grants every scope and is never declared."""

EVERY_ROLE: Final[tuple[Role, ...]] = ("user", "analyst", "moderator", "admin")


@dataclass(frozen=True, slots=True)
class Scope:
    """A permission that a service checks, and the roles that grant it; without roles, `system` alone does."""

    name: str
    description: str
    category: str
    roles: tuple[Role, ...] = ()
    sensitive: bool = False
    """Consent pages and audits point it out."""

    def listed(self) -> dict[str, Any]:
        """The scope as contracts and scopes.json have it."""
        return {
            "name": self.name,
            "description": self.description,
            "category": self.category,
            "sensitive": self.sensitive,
            "roles": [*self.roles, "system"],
        }


LISTED: Final[list[dict[str, Any]]] = json.loads((files("shared.identity") / "scopes.json").read_bytes())
"""Every scope of the fleet, as `Scope.listed` has it, sorted by name."""

ALL_SCOPES: Final[frozenset[str]] = frozenset(scope["name"] for scope in LISTED)

DESCRIPTIONS: Final[dict[str, str]] = {scope["name"]: scope["description"] for scope in LISTED}

ROLES: Final[frozenset[str]] = frozenset(role for scope in LISTED for role in scope["roles"])

SCOPES_OF_ROLE: Final[dict[str, frozenset[str]]] = {
    role: frozenset(scope["name"] for scope in LISTED if role in scope["roles"]) for role in ROLES
}


def scopes_of(roles: Iterable[str]) -> frozenset[str]:
    """The scopes that the roles grant together. A role that this release does not know grants nothing."""
    return frozenset().union(*(SCOPES_OF_ROLE.get(role, frozenset()) for role in roles))
