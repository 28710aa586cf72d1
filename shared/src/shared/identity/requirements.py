"""The scopes and grants that the operations of an application require, read from its routes.

Each service's grants.json is written from them, and no application with unknown ones is created.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from shared.identity.access import RequireAnyScope, RequireGrant
from shared.identity.scopes import ALL_SCOPES
from shared.identity.trust import GRANTS


class UnknownRequirements(Exception):
    """Operations require scopes or grants that no caller can have; the message lists each, a line each."""


def grants_of(routes: Sequence[BaseRoute]) -> dict[str, list[str]]:
    """Each grant that operations require, with those operations: {"tickets:redeem": ["POST /internal/…"]}."""
    found: dict[str, set[str]] = {}
    for operation, dependant in _operations(routes):
        for grant in _grants(dependant):
            found.setdefault(grant, set()).add(operation)
    return {grant: sorted(found[grant]) for grant in sorted(found)}


def refuse_unknown(routes: Sequence[BaseRoute]) -> None:
    """Raises UnknownRequirements for scopes and grants outside of the fleet's lists: every caller would get 403."""
    unknown: list[str] = []
    for operation, dependant in _operations(routes):
        unknown += [f"  {operation} requires the scope {scope}" for scope in sorted(_scopes(dependant) - ALL_SCOPES)]
        unknown += [f"  {operation} requires the grant {grant}" for grant in sorted(_grants(dependant) - GRANTS)]
    if unknown:
        raise UnknownRequirements("\n".join(["no token has these; `make contracts` adds new ones:", *unknown]))


def scope_alternatives(dependant: Dependant) -> list[list[str]]:
    """The sets of scopes of which each is enough for an operation: one, unless it has `require_any_scope`."""
    always = {scope for needed in _tree(dependant) for scope in needed.own_oauth_scopes or ()}
    choices = [one.call.scopes for one in _tree(dependant) if isinstance(one.call, RequireAnyScope)]
    return [list(enough) for enough in sorted({tuple(sorted(always.union(one))) for one in product(*choices)})]


def _operations(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, Dependant]]:
    for route in iter_route_contexts(routes):
        dependant = getattr(route, "dependant", None)  # plain routes and mounts have none
        if dependant is not None:
            yield f"{' '.join(sorted(route.methods or ['WebSocket']))} {route.path}", dependant


def _scopes(dependant: Dependant) -> set[str]:
    """Those of `require_scopes`, which FastAPI keeps for the OpenAPI document, and of `require_any_scope`."""
    return {scope for enough in scope_alternatives(dependant) for scope in enough}


def _grants(dependant: Dependant) -> set[str]:
    return {one.call.grant for one in _tree(dependant) if isinstance(one.call, RequireGrant)}


def _tree(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for needed in dependant.dependencies:
        yield from _tree(needed)
