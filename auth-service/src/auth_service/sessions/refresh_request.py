"""What a client asks for when it refreshes a session."""

from collections.abc import Callable
from dataclasses import dataclass

from auth_service.sessions.models import CLIENT_ID, Session
from auth_service.sessions.refresh_tokens import RefreshToken


def accept(_session: Session) -> None:
    """Demands nothing of the session."""


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """A refresh by the client `client_id`, which must be the session's own.

    The session must be in `named_tenant` if the request names one. The access token gets no other scopes than
    `narrowed_to`; the session keeps its own. It is bound to the key with the thumbprint `proven_jkt` instead of the
    session's, where the request proves one. `check` raises for a session that does not fulfill what else the request
    demands; it is not asked about a session that is bound to `proven_jkt` (None: to no key) if `plain`.
    """

    token: RefreshToken
    named_tenant: str | None = None
    client_id: str = CLIENT_ID
    proven_jkt: str | None = None
    narrowed_to: frozenset[str] | None = None
    check: Callable[[Session], None] = accept
    plain: bool = True
