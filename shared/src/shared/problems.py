"""Everything that can go wrong for a caller, as RFC 9457 problems. Imports no framework.

    Problem
    ├── the common ones below (NotFound, InvalidInput, Unauthenticated, …)
    └── each slice's own, at the top of its service.py (RoomFull, SlugTaken, …)

A class is one permanent code: `class RoomFull(Problem)` is `room_full`. Its docstring is the cause that
docs/problems.md and `/problems/room_full` show, `remedy` says what the caller does next.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

MEDIA_TYPE: Final = "application/problem+json"

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_by_code: dict[str, type["Problem"]] = {}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field: `pointer` into the body (RFC 6901) or the name of a `parameter`."""

    detail: str
    code: str
    pointer: str | None = None
    parameter: str | None = None

    def body(self) -> dict[str, str]:
        place = {"pointer": self.pointer, "parameter": self.parameter}
        return {"detail": self.detail, "code": self.code, **{k: v for k, v in place.items() if v is not None}}


class Problem(Exception):
    """What a caller is told when a request cannot be done (RFC 9457, section 3.1).

    `keeps_writes`: the refusal must leave a trace (a reused token, a failed sign-in), so the transaction commits before
    the answer leaves.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Problem"
    code: ClassVar[str] = "problem"
    remedy: ClassVar[str] = "Read the detail, change the request, and send it again."
    keeps_writes: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            cls.code = _WORD_START.sub("_", cls.__name__).lower()
        other = _by_code.setdefault(cls.code, cls)
        if other is not cls and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"problem code {cls.code!r} belongs to {other.__module__}.{other.__qualname__} already")

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
        """The members of the answer; `errors` only where there are any."""
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
        return members


def every_problem() -> dict[str, type[Problem]]:
    """Each problem class that this process has loaded, by code and in order of code."""
    return dict(sorted(_by_code.items()))


class MalformedRequest(Problem):
    """The request could not be read: no JSON, broken UTF-8, a body cut off, or headers that contradict each other."""

    status, title = 400, "The request cannot be read"
    remedy = "Send well-formed UTF-8 JSON with `Content-Type: application/json`."


class Unauthenticated(Problem):
    """The operation needs a signed-in caller and the request carries no token."""

    status, title = 401, "Sign in first"
    remedy = "Send `Authorization: Bearer <access token>`; POST /auth/login gives one."

    def __init__(self, detail: str | None = None, *, challenge: str = 'Bearer realm="flotilla"') -> None:
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class InvalidToken(Unauthenticated):
    """The token is malformed, expired, meant for another audience, not signed by us, or its session has ended."""

    status, title = 401, "The token is not valid"
    remedy = "Refresh the session at POST /auth/refresh, or sign in again."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, challenge='Bearer realm="flotilla", error="invalid_token"')


class Forbidden(Problem):
    """The caller is known and may not do this."""

    status, title = 403, "Not allowed"
    remedy = "Ask an admin of the tenant for the role that this needs."


class InsufficientScope(Forbidden):
    """The token lacks a scope that the operation asks for (RFC 6750, section 3.1)."""

    status, title = 403, "The token lacks a scope"
    remedy = "Sign in as someone whose roles grant the scope named in `WWW-Authenticate`."

    def __init__(self, detail: str | None = None, *, scopes: Sequence[str] = ()) -> None:
        wanted = " ".join(scopes)
        challenge = f'Bearer realm="flotilla", error="insufficient_scope", scope="{wanted}"'
        super().__init__(detail or f"This needs the scope {wanted}.", headers={"WWW-Authenticate": challenge})


class NoTenant(Forbidden):
    """The operation needs a tenant: the session acts in none, or the account is an active member of none."""

    status, title = 403, "No tenant"
    remedy = "Sign in naming a tenant that you are a member of, or ask a tenant's admin to add you."


class TenantMismatch(Forbidden):
    """The request names a tenant (by subdomain or X-Tenant-ID) that is not the token's."""

    status, title = 403, "The token is for another tenant"
    remedy = "Name the token's own tenant or none; POST /auth/sessions opens a session in another of yours."


class NotFound(Problem):
    """Nothing by that id that the caller may see; another tenant's or another person's object looks the same."""

    status, title = 404, "Not found"
    remedy = "Check the id, and that you act in the tenant that owns it."


class MethodNotAllowed(Problem):
    """The path exists and does not take this method; `Allow` names those it takes."""

    status, title = 405, "Method not allowed"
    remedy = "Use one of the methods in `Allow`."


class NotAcceptable(Problem):
    """No representation fits the request's `Accept`."""

    status, title = 406, "Not acceptable"
    remedy = "Ask for a media type that the operation's documentation names."


class Conflict(Problem):
    """The request contradicts the state of the object, such as a name that is taken."""

    status, title = 409, "Conflict"
    remedy = "Read the object again and decide anew."


class PreconditionFailed(Problem):
    """`If-Match` names a version that is not the current one: someone changed the object in between."""

    status, title = 412, "The object has changed"
    remedy = "GET the object, apply your change to what it is now, and send it with the new ETag."


AllowWrite = Callable[[int | None], None]
"""Is told the version that a write is about to replace, None where there is none yet; raises PreconditionFailed."""


class BodyTooLarge(Problem):
    """The body is larger than this operation takes."""

    status, title = 413, "The body is too large"
    remedy = "Send less at once; the operation's documentation names its limit."


class UnsupportedMediaType(Problem):
    """The body's media type is not one that this operation reads."""

    status, title = 415, "Unsupported media type"
    remedy = "Set `Content-Type` to one that the operation's documentation names."


class RangeNotSatisfiable(Problem):
    """The requested range lies outside the content."""

    status, title = 416, "Range not satisfiable"
    remedy = "Ask for a range inside the size that `Content-Range` names."


class InvalidInput(Problem):
    """The request was understood and its content is not acceptable; `errors` says which field and why."""

    status, title = 422, "The input is not valid"
    remedy = "Correct the fields that `errors` points at."


class TooManyRequests(Problem):
    """The caller's budget of requests is used up for now."""

    status, title = 429, "Too many requests"
    remedy = "Wait for the seconds in `Retry-After`."


class InternalError(Problem):
    """Something failed that is our fault; the log has the cause under the request id."""

    status, title = 500, "Something went wrong"
    remedy = "Try again later; report the request_id if it stays."


class ServiceUnavailable(Problem):
    """A part that this operation needs is away for the moment; nothing was changed."""

    status, title = 503, "Not available right now"
    remedy = "Try again after the seconds in `Retry-After`."

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class DatabaseUnavailable(ServiceUnavailable):
    """The service's database does not answer; nothing was changed."""

    status, title = 503, "The database is not available right now"


class BadUpstream(Problem):
    """The service behind the gateway broke off or answered what cannot be read."""

    status, title = 502, "The service behind the gateway failed"
    remedy = "Try again; report the request_id if it stays."


class UpstreamTimeout(Problem):
    """The service behind the gateway did not answer in time; whether it did the work is unknown."""

    status, title = 504, "The service behind the gateway is too slow"
    remedy = "Read the object to see what happened, or repeat with the same Idempotency-Key."
