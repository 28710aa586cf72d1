"""Finds the route of a path: a tree of segments, compiled once, walked once per request."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.routes.model import Access, Route


@dataclass(frozen=True, slots=True)
class Match:
    """A route with what a request needs of it, worked out in advance."""

    name: str
    upstream: str
    access: Mapping[str, Access]
    allow: str
    timeout_s: float | None
    max_body: int
    streaming: bool
    websocket: str | None
    tickets: bool


_ANY: Final = ""
"""The key of the child that stands for any segment; no segment of a path is empty."""


class _Node:
    __slots__ = ("beneath", "children", "here")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.here: Match | None = None
        self.beneath: Match | None = None


class Matcher:
    """Answers which route a decoded path belongs to. The longest path wins; a name wins over `{any}` segment."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.path.split("/")[1:]:
            node = node.children.setdefault(_ANY if segment.startswith("{") else segment, _Node())
        node.here = compiled(route)
        node.beneath = None if route.exact else node.here

    def find(self, path: str) -> Match | None:
        """The route of `path`, None where there is none."""
        return _walk(self._root, path.split("/"), 1)


def _walk(node: _Node, segments: list[str], at: int) -> Match | None:
    """The best match at or beneath `node` for the segments from `at` on; goes back where a name led nowhere."""
    if at == len(segments):
        return node.here
    segment = segments[at]
    if not segment:
        return None
    for key in (segment, _ANY):
        child = node.children.get(key)
        if child is not None and (found := _walk(child, segments, at + 1)) is not None:
            return found
    return node.beneath if all(segments[at:]) else None


def compiled(route: Route) -> Match:
    """`route` as requests use it: HEAD is answered wherever GET is, and OPTIONS by the gateway itself."""
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
    )
