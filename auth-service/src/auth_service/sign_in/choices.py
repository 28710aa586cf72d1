"""What a person chooses when they sign in, also while the sign-in waits for its second factor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from auth_service.sessions.models import SessionProvider


@dataclass(frozen=True, slots=True)
class Choices:
    """`tenant` and `tenant_beside` name the session's tenant in the body and beside it (subdomain, X-Tenant-ID).

    Its scopes are among `limited_to`. `cookie`: the refresh token is set as a cookie. `remember_me`: the session may be
    idle for weeks. `provider` is the upstream provider that has identified the person, if one has.
    """

    tenant: str | None = None
    tenant_beside: str | None = None
    limited_to: frozenset[str] | None = None
    cookie: bool = False
    remember_me: bool = False
    provider: SessionProvider | None = None

    def to_stored(self) -> dict[str, Any]:
        """The choices as JSON."""
        stored: dict[str, Any] = _Choices.dump_python(self, mode="json")
        return stored

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> "Choices":
        return _Choices.validate_python(stored)


_Choices: Final = TypeAdapter(Choices)
