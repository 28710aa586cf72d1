"""The errors of the OAuth endpoints, in the shape that their standards prescribe (RFC 6749, section 5.2)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, get_args

from shared.problems import Problem

Error = Literal[
    "access_denied",
    "account_selection_required",
    "authorization_pending",
    "consent_required",
    "expired_token",
    "insufficient_user_authentication",
    "interaction_required",
    "invalid_client",
    "invalid_client_metadata",
    "invalid_dpop_proof",
    "invalid_grant",
    "invalid_redirect_uri",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "login_required",
    "request_not_supported",
    "slow_down",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    "unsupported_token_type",
    "use_dpop_nonce",
]

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthError(Problem):
    """An OAuth request was refused; `error` and `error_description` in the body say why (RFC 6749, section 5.2)."""

    status, title = 400, "The OAuth request was refused"
    remedy = "Correct the request as `error_description` says."
    media_type: ClassVar[str] = "application/json"
    schema: ClassVar[Mapping[str, Any]] = {
        "title": "OAuthError",
        "description": "RFC 6749, section 5.2.",
        "type": "object",
        "required": ["error", "error_description"],
        "properties": {
            "error": {"type": "string", "enum": list(get_args(Error))},
            "error_description": {"type": "string"},
        },
    }

    def __init__(self, error: Error, description: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(description, headers={**NO_STORE, **(headers or {})})
        self.error: Error = error

    def body(self, *, instance: str | None = None, request_id: str | None = None) -> dict[str, object]:
        return {"error": self.error, "error_description": self.detail}

    @property
    def name(self) -> str:
        return self.error


class InvalidClient(OAuthError):
    """The client is unknown or disabled, or did not authenticate by its registered method."""

    status, title = 401, "The client is not authenticated"
    remedy = "Authenticate by the method that the client was registered with."

    def __init__(self, description: str = "The client is unknown or its credentials are wrong.") -> None:
        super().__init__("invalid_client", description, headers={"WWW-Authenticate": 'Basic realm="flotilla"'})


class GrantReplayed(OAuthError):
    """A code was used a second time, so a copy of it exists: the session that it opened was ended."""

    keeps_writes = True

    def __init__(self) -> None:
        super().__init__("invalid_grant", "The code was used before; what it issued was ended.")
