"""Who calls, and may they: FastAPI dependencies for HTTP and WebSocket routes alike.

    async def rooms(user: CurrentUser): ...                                        a person, else 401
    @router.get("/rooms", dependencies=[Depends(require_scopes("chat:read"))])     and all of these scopes, else 403
    @router.put("/internal/…", dependencies=[Depends(require_grant("x:write"))])   a service that holds this grant

They are answered before the operation runs, so a missing scope is 403 before anything is looked up. A token is read
from `Authorization` alone: one in a query or a form would end up in logs and histories (RFC 6750, section 5.3).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import structlog
from fastapi import Depends, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.requests import HTTPConnection
from fastapi.security.base import SecurityBase

from shared.identity.principal import Principal, ServiceCaller
from shared.identity.revocations import Revocations
from shared.identity.verifier import Verifier
from shared.problems import Forbidden, InsufficientScope, InvalidToken, Unauthenticated
from shared.resources import resource, resources_of

RevocationsDep = Annotated[Revocations, resource(Revocations)]

_CALLER: Final = "caller"


async def caller(connection: HTTPConnection) -> Principal | ServiceCaller | None:
    """Who calls, None without a token; verified once a request. Raises InvalidToken for a token that has ended.

    A request has its answer in its state: FastAPI would solve this once for each dependency that needs it.
    """
    state: dict[str, Any] = connection.scope["state"]
    if _CALLER not in state:
        state[_CALLER] = await _verified(connection)
    found: Principal | ServiceCaller | None = state[_CALLER]
    return found


async def _verified(connection: HTTPConnection) -> Principal | ServiceCaller | None:
    token = _bearer_token(connection)
    if token is None:
        return None
    resources = resources_of(connection)
    found = await resources.get(Verifier).caller(token)
    if isinstance(found, ServiceCaller):
        structlog.contextvars.bind_contextvars(service_caller=found.name)
        return found
    resources.get(Revocations).admit(found)
    structlog.contextvars.bind_contextvars(user=str(found.user_id), tenant=found.tenant_id and str(found.tenant_id))
    return found


def _bearer_token(connection: HTTPConnection) -> str | None:
    values = connection.headers.getlist("authorization")
    if len(values) > 1:
        raise InvalidToken("The request carries more than one Authorization header.")
    scheme, _, token = values[0].partition(" ") if values else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else None


async def optional_user(connection: HTTPConnection) -> Principal | None:
    """The signed-in person; None without a token, and for a service that acts for itself."""
    found = await caller(connection)
    return found if isinstance(found, Principal) else None


class _BearerToken(SecurityBase):
    """A dependency that OpenAPI documents as requiring a bearer token."""

    model = HTTPBearer(bearerFormat="JWT")
    scheme_name = "bearer"


class _CurrentUser(_BearerToken):
    async def __call__(self, connection: HTTPConnection) -> Principal:
        """The signed-in person. Raises Unauthenticated, or InvalidToken for a service's own token."""
        found = await caller(connection)
        if found is None:
            raise Unauthenticated
        if isinstance(found, ServiceCaller):
            raise InvalidToken("The token identifies a service; this operation requires a person.")
        return found


current_user: Final = _CurrentUser()
OptionalUser = Annotated[Principal | None, Depends(optional_user)]
CurrentUser = Annotated[Principal, Depends(current_user)]


def require_scopes(*scopes: str) -> Callable[..., Awaitable[Principal]]:
    """A dependency: the signed-in person, whose token has all of `scopes`; else InsufficientScope."""
    if not scopes:
        raise ValueError("no scope is given")

    async def check(user: Annotated[Principal, Security(current_user, scopes=scopes)]) -> Principal:
        if not user.scopes.issuperset(scopes):
            raise InsufficientScope(scopes=scopes)
        return user

    return check


@dataclass(frozen=True, slots=True)
class RequireAnyScope(_BearerToken):
    """A dependency: the signed-in person, whose token has at least one of `scopes`; else InsufficientScope."""

    scopes: tuple[str, ...]

    async def __call__(self, connection: HTTPConnection) -> Principal:
        user = await current_user(connection)
        if user.scopes.isdisjoint(self.scopes):
            detail = f"This operation requires one of the scopes {', '.join(self.scopes)}."
            raise InsufficientScope(detail, scopes=self.scopes)
        return user


def require_any_scope(*scopes: str) -> RequireAnyScope:
    """A dependency: the signed-in person, whose token has at least one of `scopes`; else InsufficientScope."""
    if not scopes:
        raise ValueError("no scope is given")
    return RequireAnyScope(scopes)


@dataclass(frozen=True, slots=True)
class RequireGrant(_BearerToken):
    """A dependency: a service that speaks for itself and holds `grant`; a person or another service is Forbidden."""

    grant: str

    async def __call__(self, connection: HTTPConnection) -> ServiceCaller:
        found = await caller(connection)
        if found is None:
            raise Unauthenticated
        if not isinstance(found, ServiceCaller) or self.grant not in found.grants:
            raise Forbidden(f"Only a service with the grant {self.grant} may call this operation.")
        return found


def require_grant(grant: str) -> RequireGrant:
    """A dependency: a service to which the trust file gives `grant`."""
    return RequireGrant(grant)
