"""What the operations of an application require, read from its routes: the source of each service's grants.json."""

from collections.abc import Iterator, Sequence

from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from shared.identity.access import RequireGrant
from shared.identity.trust import GRANTS


class UnknownRequirements(Exception):
    """Operations require what no service can hold; the message lists every one, a line each."""


def grants_of(routes: Sequence[BaseRoute]) -> dict[str, list[str]]:
    """Each grant that operations require, with those operations: {"tickets:redeem": ["POST /internal/…"]}."""
    found: dict[str, set[str]] = {}
    for operation, dependant in _operations(routes):
        for grant in _grants(dependant):
            found.setdefault(grant, set()).add(operation)
    return {grant: sorted(found[grant]) for grant in sorted(found)}


def refuse_unknown(routes: Sequence[BaseRoute]) -> None:
    """Raises UnknownRequirements for a grant that is not in the shipped list: every caller would get 403."""
    unknown = [
        f"  {operation} requires the grant {grant}"
        for grant, operations in grants_of(routes).items()
        if grant not in GRANTS
        for operation in operations
    ]
    if unknown:
        raise UnknownRequirements("\n".join(["unknown grants are required; to add new ones: make contracts", *unknown]))


def _operations(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, Dependant]]:
    for route in iter_route_contexts(routes):
        dependant = getattr(route, "dependant", None)  # plain routes and mounts have none
        if dependant is not None:
            yield f"{' '.join(sorted(route.methods or ['WebSocket']))} {route.path}", dependant


def _grants(dependant: Dependant) -> Iterator[str]:
    if isinstance(dependant.call, RequireGrant):
        yield dependant.call.grant
    for needed in dependant.dependencies:
        yield from _grants(needed)
