"""The errors that callers can get, as RFC 9457 problems. Imports no framework.

    Problem
    ├── the common ones below (NotFound, InvalidInput, Unauthenticated, …)
    └── each slice's own, at the top of its service.py (RoomFull, SlugTaken, …)

A class is one permanent code: `class RoomFull(Problem)` is `room_full`. Its docstring is the cause shown
in docs/problems.md and at `/problems/room_full`; `remedy` tells the caller how to proceed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

from shared.field_errors import FieldError

MEDIA_TYPE: Final = "application/problem+json"

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_by_code: dict[str, type["Problem"]] = {}


class Problem(Exception):
    """An error returned to a caller (RFC 9457, section 3.1).

    `keeps_writes`: the error must leave a record (a reused token, a failed sign-in), so the transaction commits before
    the response is sent.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Problem"
    code: ClassVar[str] = "problem"
    remedy: ClassVar[str] = "Correct the request as the detail describes, and send it again."
    keeps_writes: ClassVar[bool] = False
    media_type: ClassVar[str] = MEDIA_TYPE
    """Another one where a standard prescribes another body."""
    schema: ClassVar[Mapping[str, Any] | None] = None
    """The JSON schema of such a body, with a title; None for RFC 9457's."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            cls.code = _WORD_START.sub("_", cls.__name__).lower()
        other = _by_code.setdefault(cls.code, cls)
        if other is not cls and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"problem code {cls.code!r} belongs to {other.__module__}.{other.__qualname__}")

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_s: int | None = None,
    ) -> None:
        self.detail = detail or self.title + "."
        self.headers = dict(headers or {})
        self.errors = tuple(errors)
        if retry_after_s is not None:
            self.headers.setdefault("Retry-After", str(retry_after_s))
        super().__init__(self.detail)

    def body(self, *, instance: str | None = None, request_id: str | None = None) -> dict[str, object]:
        """The members of the response; `errors` only if there are any."""
        members: dict[str, object] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "request_id": request_id,
            "code": self.code,
        }
        if self.errors:
            members["errors"] = [error.body() for error in self.errors]
        return {**members, **self.extensions()}

    def extensions(self) -> Mapping[str, object]:
        """Members of the class's own (RFC 9457, section 3.2), for a client that goes on by them."""
        return {}

    @property
    def name(self) -> str:
        """What its example is listed under in the OpenAPI document."""
        return self.code

    @classmethod
    def example(cls) -> "Problem":
        """The example in the OpenAPI document, for a class that takes arguments."""
        return cls()


F = TypeVar("F", bound=Callable[..., object])


def raises(*problems: type[Problem] | Problem) -> Callable[[F], F]:
    """Name the problems that a path operation, or a dependency of one, raises: its OpenAPI document lists them.

    A problem instead of a class is the example itself. A dependency that is an object has them as its class's `raises`.
    """

    def named(function: F) -> F:
        vars(function)["raises"] = problems
        return function

    return named


def every_problem() -> dict[str, type[Problem]]:
    """The problem classes that this process has loaded, by code and sorted by code."""
    return dict(sorted(_by_code.items()))


class MalformedRequest(Problem):
    """The request cannot be parsed: invalid JSON or UTF-8, an incomplete body, or contradictory headers."""

    status, title = 400, "The request cannot be read"
    remedy = "Send well-formed UTF-8 JSON with `Content-Type: application/json`."


class Unauthenticated(Problem):
    """The operation requires a signed-in caller, and the request has no token."""

    status, title = 401, "Sign in first"
    remedy = "Send `Authorization: Bearer <access token>`; POST /auth/login returns one."

    def __init__(self, detail: str | None = None, *, challenge: str = 'Bearer realm="flotilla"') -> None:
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class InvalidToken(Unauthenticated):
    """The token is malformed, expired, revoked, for another audience, or not issued by this fleet."""

    status, title = 401, "The token is not valid"
    remedy = "Refresh the session at POST /auth/refresh, or sign in again."

    def __init__(
        self, detail: str | None = None, *, challenge: str = 'Bearer realm="flotilla", error="invalid_token"'
    ) -> None:
        super().__init__(detail, challenge=challenge)


class InsufficientUserAuthentication(Unauthenticated):
    """The operation requires that the person has proven who they are recently, or by a second factor (RFC 9470)."""

    status, title = 401, "Confirm that it is you"
    remedy = (
        "Confirm at POST /auth/mfa/step-up, or sign in again, as `WWW-Authenticate` asks: not longer ago than "
        "`max_age`, at the level in `acr_values`."
    )

    def __init__(self, detail: str | None = None, *, acr: str | None = None, max_age_s: int | None = None) -> None:
        asked = "" if acr is None else f', acr_values="{acr}"'
        asked += "" if max_age_s is None else f', max_age="{max_age_s}"'
        super().__init__(detail, challenge=f'Bearer realm="flotilla", error="insufficient_user_authentication"{asked}')


class Forbidden(Problem):
    """The caller is authenticated but not allowed to do this."""

    status, title = 403, "Not allowed"
    remedy = "Ask an admin of the tenant for a role that allows this."


class ImpersonationRefused(Forbidden):
    """The operation is the person's own: an operator who impersonates them cannot use it."""

    status, title = 403, "Not while impersonating"
    remedy = "Ask the person to do this themselves. End the impersonation with DELETE /auth/impersonate."


class InsufficientScope(Forbidden):
    """The token lacks a scope that the operation requires (RFC 6750, section 3.1)."""

    status, title = 403, "The token lacks a scope"
    remedy = "Sign in with an account whose roles grant the scope listed in `WWW-Authenticate`."

    def __init__(self, detail: str | None = None, *, scopes: Sequence[str] = ()) -> None:
        wanted = " ".join(scopes)
        challenge = f'Bearer realm="flotilla", error="insufficient_scope", scope="{wanted}"'
        super().__init__(detail or f"The scope {wanted} is required.", headers={"WWW-Authenticate": challenge})


class NoTenant(Forbidden):
    """The operation requires a tenant, but the session has none or the account has no active membership."""

    status, title = 403, "No tenant"
    remedy = "Sign in to a tenant that you are a member of, or ask a tenant's admin to add you."


class TenantMismatch(Forbidden):
    """The subdomain or the X-Tenant-ID header names a different tenant than the token."""

    status, title = 403, "The token is for another tenant"
    remedy = "Use the token's tenant or omit it; POST /auth/sessions opens a session in another tenant of yours."


class NotFound(Problem):
    """The object does not exist, or the caller may not see it because another tenant or person owns it."""

    status, title = 404, "Not found"
    remedy = "Check the id, and check that your session is in the tenant that owns the object."


class MethodNotAllowed(Problem):
    """The path does not support this method; `Allow` lists the supported methods."""

    status, title = 405, "Method not allowed"
    remedy = "Use one of the methods in `Allow`."


class NotAcceptable(Problem):
    """The operation cannot produce a media type that the request's `Accept` allows."""

    status, title = 406, "Not acceptable"
    remedy = "Request a media type that the operation's documentation lists."


class RequestTimeout(Problem):
    """The body stopped arriving, so the request was not executed; the connection closes."""

    status, title = 408, "The request did not arrive in time"
    remedy = "Send the request again on a new connection."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"Connection": "close"})


class Conflict(Problem):
    """The request conflicts with the current state of the object, such as a name that is already taken."""

    status, title = 409, "Conflict"
    remedy = "Read the object again and adapt the request."


class PreconditionFailed(Problem):
    """The version in `If-Match` is not the current one: the object was changed in between."""

    status, title = 412, "The object has changed"
    remedy = "GET the object, apply your change to the current version, and send it with the new ETag."


AllowWrite = Callable[[int | None], None]
"""Checks the version that a write is about to replace (None if there is none yet); raises PreconditionFailed."""


class BodyTooLarge(Problem):
    """The body is larger than this operation accepts."""

    status, title = 413, "The body is too large"
    remedy = "Send a smaller body; the operation's documentation states the limit."


class UnsupportedMediaType(Problem):
    """This operation does not accept the body's media type."""

    status, title = 415, "Unsupported media type"
    remedy = "Set `Content-Type` to a media type that the operation's documentation lists."


class RangeNotSatisfiable(Problem):
    """The requested range is outside the content."""

    status, title = 416, "Range not satisfiable"
    remedy = "Request a range within the size given in `Content-Range`."


class InvalidInput(Problem):
    """The request is well-formed but contains invalid values; `errors` lists each field and the reason."""

    status, title = 422, "The input is not valid"
    remedy = "Correct the fields listed in `errors`."


class TooManyRequests(Problem):
    """The caller has exceeded the rate limit."""

    status, title = 429, "Too many requests"
    remedy = "Wait for the number of seconds in `Retry-After`, then try again."


class InternalError(Problem):
    """An unexpected error occurred on the server; its log has the details under the request id."""

    status, title = 500, "Internal error"
    remedy = "Try again later; report the request_id if the error persists."


class ServiceUnavailable(Problem):
    """A dependency of this operation is unavailable; nothing was changed."""

    status, title = 503, "Service unavailable"
    remedy = "Try again after the number of seconds in `Retry-After`."

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class DatabaseUnavailable(ServiceUnavailable):
    """The service's database does not respond; nothing was changed."""

    status, title = 503, "The database is unavailable"


class BadUpstream(Problem):
    """The service behind the gateway closed the connection early or sent an invalid response."""

    status, title = 502, "The service behind the gateway failed"
    remedy = "Try again; report the request_id if the error persists."


class UpstreamTimeout(Problem):
    """The service behind the gateway did not respond in time; the operation may or may not have been executed."""

    status, title = 504, "The service behind the gateway timed out"
    remedy = "Read the object to see the result, or repeat the request with the same Idempotency-Key."
