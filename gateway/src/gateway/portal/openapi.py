"""`GET /openapi.json`: collects the services' documents in the background and keeps the last good one of each."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import orjson

from gateway.portal.compressed import Compressed
from gateway.portal.merge import Document, merge
from gateway.routes.matching import Matcher
from shared.background import Backoff, PollingLoop
from shared.problems import ServiceUnavailable

ReadDocument: TypeAlias = Callable[[], Awaitable[Document | None]]
"""Reads the document of one service; None if it has none. Raises ServiceUnavailable."""

_JSON: Final = "application/json"
SOURCE: Final = "/internal/openapi.json"
_BACKOFF: Final = Backoff(first_s=0.5, most_s=15)


@dataclass(slots=True)
class Published:
    """The merged document as it is served now; requests only read it."""

    document: Compressed = field(default_factory=lambda: Compressed(b"{}", _JSON))


class Collector:
    """Reads every document again each `every_s`, and publishes their merger when one of them has changed.

    A service that cannot be reached keeps its last good document; the loop tries it again after a backoff.
    """

    def __init__(
        self,
        published: Published,
        own: Document,
        sources: Mapping[str, ReadDocument],
        matcher: Matcher,
        *,
        public_url: str,
        every_s: float,
    ) -> None:
        self._published, self._own, self._sources, self._matcher = published, own, sources, matcher
        self._public_url = public_url
        self._parts: dict[str, Document] = {}
        self._stale = False
        self.loop = PollingLoop("openapi", self._refresh, every_s=every_s, backoff=_BACKOFF)
        published.document = self._rendered({}, matcher)

    def use(self, matcher: Matcher) -> None:
        """Publish what this route table lets through, from now on."""
        self._matcher, self._stale = matcher, True
        self.loop.wake()

    async def _refresh(self) -> None:
        """Raises ServiceUnavailable, after publishing, where a service did not answer with a document."""
        wanted = [name for name in self._matcher.upstreams if name in self._sources]
        answered = await asyncio.gather(*(self._read(name) for name in wanted))
        if self._stale:
            self._stale = False
            # about 20 ms of work: forwarded requests do not wait for it
            self._published.document = await asyncio.to_thread(self._rendered, dict(self._parts), self._matcher)
        if unanswered := [name for name, read in zip(wanted, answered, strict=True) if not read]:
            raise ServiceUnavailable(f"No OpenAPI document from {', '.join(unanswered)}.")

    async def _read(self, name: str) -> bool:
        """Read the document of the service `name`; whether it answered."""
        try:
            document = await self._sources[name]()
        except ServiceUnavailable:
            return False
        if document is not None and document != self._parts.get(name):
            self._parts[name], self._stale = document, True
        return document is not None

    def _rendered(self, parts: Mapping[str, Document], matcher: Matcher) -> Compressed:
        return Compressed(orjson.dumps(merge(self._own, parts, matcher, self._public_url)), _JSON)
