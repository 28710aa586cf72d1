"""What the slice publishes."""

from typing import ClassVar, Literal
from uuid import UUID

from shared.events import Event

Reason = Literal[
    "logout",
    "logout_all",
    "reuse",
    "ended_by_owner",
    "membership_ended",
    "password_changed",
    "password_reset",
    "consent_withdrawn",
    "code_replayed",
    "revoked_by_client",
    "provider_removed",
    "client_removed",
    "account_deactivated",
    "account_erased",
    "impersonation_ended",
]


class SessionRevoked(Event):
    """A session was ended early; its tokens are no longer valid."""

    type: ClassVar[str] = "session.revoked.v1"
    example: ClassVar[dict[str, object]] = {"user_id": "0192f0c1-2b3c-7d4e-8f50-617283940a1b", "reason": "logout"}
    external: ClassVar[bool] = True

    user_id: UUID
    reason: Reason
