"""Finds the route of a path: a tree of segments, compiled once, walked once per request."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.routes.model import Access, Route


@dataclass(frozen=True, slots=True)
class Match:
    """A route, precomputed for requests."""

    name: str
    upstream: str
    access: Mapping[str, Access]
    allow: str
    timeout_s: float | None
    max_body: int
    streaming: bool
    websocket: str | None
    tickets: bool
    api_keys: bool
    client_address: bool
    client_credentials: bool
    no_impersonation: bool
    pages: bool


_ANY: Final = ""
"""The key of the child that matches any segment; no segment of a path is empty."""


class _Node:
    __slots__ = ("children", "exact", "prefix")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.exact: Match | None = None
        self.prefix: Match | None = None


class Matcher:
    """Finds the route of a decoded path. The longest path wins; a literal segment wins over a `{name}`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self._upstreams: dict[str, None] = {}
        for route in routes:
            self._add(route)
            self._upstreams[route.upstream] = None

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The services that have routes, in the order of the table."""
        return tuple(self._upstreams)

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.path.split("/")[1:]:
            node = node.children.setdefault(_ANY if segment.startswith("{") else segment, _Node())
        node.exact = compiled(route)
        node.prefix = None if route.exact else node.exact

    def find(self, path: str) -> Match | None:
        """The route of `path`, or None."""
        return _walk(self._root, path.split("/"), 1)


def _walk(node: _Node, segments: list[str], at: int) -> Match | None:
    """The best match at or below `node` for the segments from `at` on; backtracks from a literal to `{name}`."""
    if at == len(segments):
        return node.exact
    segment = segments[at]
    if not segment:
        return None
    for key in (segment, _ANY):
        child = node.children.get(key)
        if child is not None and (found := _walk(child, segments, at + 1)) is not None:
            return found
    return node.prefix if all(segments[at:]) else None


def compiled(route: Route) -> Match:
    """Precompute `route`: HEAD is allowed wherever GET is, and the gateway answers OPTIONS."""
    access: dict[str, Access] = {method: access for method, access in route.methods.items()}  # noqa: C416 - wider keys
    if "GET" in access and not route.websocket:
        access["HEAD"] = access["GET"]
    return Match(
        name=route.path,
        upstream=route.upstream,
        access=access,
        allow=", ".join(sorted({*access, "OPTIONS"})),
        timeout_s=None if route.streaming or route.websocket else route.timeout_s,
        max_body=int(route.max_body),
        streaming=route.streaming,
        websocket=route.websocket,
        tickets=route.tickets,
        api_keys=route.takes_api_keys,
        client_address=route.client_address,
        client_credentials=route.client_credentials,
        no_impersonation=route.refuses_impersonation,
        pages=route.pages,
    )
