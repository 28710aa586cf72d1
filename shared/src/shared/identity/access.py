"""Who calls, and may they: FastAPI dependencies for HTTP and WebSocket routes alike.

    async def rooms(user: CurrentUser): ...                                        a person, else 401
    @router.get("/rooms", dependencies=[Depends(require_scopes("chat:read"))])     and all of these scopes, else 403
    @router.post("/keys", dependencies=[Depends(require_recent(max_age_s=600))])   and signed in recently, else 401
    @router.put("/internal/…", dependencies=[Depends(require_grant("x:write"))])   a service that holds this grant
    @router.delete("/consents", dependencies=[Depends(refuse_impersonation)])      not an operator acting as the person

They are answered before the operation runs, so a missing scope is 403 before anything is looked up. A token is read
from `Authorization` alone: one in a query or a form would end up in logs and histories (RFC 6750, section 5.3).
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

import structlog
from fastapi import Depends, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.requests import HTTPConnection
from fastapi.security.base import SecurityBase

from shared.identity import bound_tokens
from shared.identity.authentication import reaches
from shared.identity.bound_tokens import BoundTokens
from shared.identity.dpop import by_dpop, challenge
from shared.identity.principal import Principal, ServiceCaller, check_not_impersonated
from shared.identity.revocations import Revocations
from shared.identity.verifier import Verifier
from shared.problems import (
    Forbidden,
    ImpersonationRefused,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidToken,
    Problem,
    Unauthenticated,
    raises,
)
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
    scheme, token = _credentials(connection)
    resources = resources_of(connection)
    found: Principal | ServiceCaller
    if scheme == "bearer":
        found = await resources.get(Verifier).caller(token)
    elif scheme == bound_tokens.SCHEME and (bound := resources.find(BoundTokens)) is not None:
        found = await bound.caller(connection, token)
    else:
        return None
    if isinstance(found, ServiceCaller):
        structlog.contextvars.bind_contextvars(service_caller=found.name)
        return found
    resources.get(Revocations).admit(found)
    structlog.contextvars.bind_contextvars(user=str(found.user_id), tenant=found.tenant_id and str(found.tenant_id))
    if found.acting is not None:
        structlog.contextvars.bind_contextvars(act=found.acting)
    return found


def _credentials(connection: HTTPConnection) -> tuple[str, str]:
    """The scheme in lower case and the token; empty without an Authorization header. Raises InvalidToken."""
    values = connection.headers.getlist("authorization")
    if len(values) > 1:
        raise InvalidToken("The request carries more than one Authorization header.")
    scheme, _, token = values[0].partition(" ") if values else ("", "", "")
    return scheme.lower(), token.strip()


def name_scheme(connection: HTTPConnection, problem: Problem) -> None:
    """Let the problem's challenge name the scheme of the request's token, or those that it may use.

    For a token that is bound to a key that is DPoP, also where the gateway has verified the proof (RFC 9449, section
    7.1).
    """
    said = problem.headers.get("WWW-Authenticate")
    state: dict[str, Any] = connection.scope.get("state", {})
    if said is None or "resources" not in state:
        return
    found = state.get(_CALLER)
    takes_proofs = resources_of(connection).find(BoundTokens) is not None
    scheme = connection.headers.get("authorization", "").partition(" ")[0].lower()
    if isinstance(found, Principal):
        by_proof = found.dpop_jkt is not None
    else:
        by_proof = takes_proofs and scheme == bound_tokens.SCHEME
    if by_proof:
        problem.headers["WWW-Authenticate"] = by_dpop(said)
    elif takes_proofs and not scheme:
        problem.headers["WWW-Authenticate"] = f"{said}, {challenge()}"


async def optional_user(connection: HTTPConnection) -> Principal | None:
    """The signed-in person; None without a token, and for a service that acts for itself."""
    found = await caller(connection)
    return found if isinstance(found, Principal) else None


class _BearerToken(SecurityBase):
    """A dependency that OpenAPI documents as requiring a bearer token."""

    model = HTTPBearer(bearerFormat="JWT")
    scheme_name = "bearer"
    raises: ClassVar[tuple[type[Problem], ...]] = (Unauthenticated, InvalidToken)


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

    @raises(InsufficientScope)
    async def check(user: Annotated[Principal, Security(current_user, scopes=scopes)]) -> Principal:
        if not user.scopes.issuperset(scopes):
            raise InsufficientScope(scopes=scopes)
        return user

    return check


@dataclass(frozen=True, slots=True)
class RequireAnyScope(_BearerToken):
    """A dependency: the signed-in person, whose token has at least one of `scopes`; else InsufficientScope."""

    scopes: tuple[str, ...]
    raises: ClassVar = (*_BearerToken.raises, InsufficientScope)

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


@raises(ImpersonationRefused)
async def refuse_impersonation(user: CurrentUser) -> None:
    """A dependency: the operation is for the person alone; ImpersonationRefused for an operator who acts as them."""
    check_not_impersonated(user)


def check_recent(user: Principal, *, max_age_s: int | None = None, acr: str | None = None) -> None:
    """Check that the person proved who they are at most `max_age_s` ago, at the level `acr` at least (RFC 9470).

    Raises InsufficientUserAuthentication.
    """
    age_s = None if user.auth_time is None else time.time() - user.auth_time
    too_old = max_age_s is not None and (age_s is None or age_s > max_age_s)
    if too_old or (acr is not None and not reaches(user.acr, acr)):
        raise InsufficientUserAuthentication(acr=acr, max_age_s=max_age_s)


def require_recent(*, max_age_s: int | None = None, acr: str | None = None) -> Callable[..., Awaitable[Principal]]:
    """A dependency: the signed-in person, who proved who they are recently; see `check_recent`."""
    if max_age_s is None and acr is None:
        raise ValueError("neither an age nor a level is given")

    @raises(InsufficientUserAuthentication)
    async def check(user: CurrentUser) -> Principal:
        check_recent(user, max_age_s=max_age_s, acr=acr)
        return user

    return check


@dataclass(frozen=True, slots=True)
class RequireGrant(_BearerToken):
    """A dependency: a service that speaks for itself and holds `grant`; a person or another service is Forbidden."""

    grant: str
    raises: ClassVar = (*_BearerToken.raises, Forbidden)

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
