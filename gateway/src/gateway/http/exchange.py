"""One request on its way through the gateway: what is known of it so far, and how it is answered."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

import orjson

from gateway.http.headers import RequestHead
from gateway.routes.matching import Match
from shared.identity import Principal
from shared.problems import MEDIA_TYPE, Problem

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class Connection(Protocol):
    """The client's connection, as our server's protocol offers it (`scope["extensions"]["flotilla.connection"]`)."""

    lost: bool
    task: asyncio.Task[None] | None

    def hang_up(self) -> None:
        """Answer and close, though the client may still be sending."""

    def cut(self) -> None:
        """Close without ending the answer, so that the client sees that it is not whole."""


class Exchange:
    """A request, who sent it, and the headers that its answer gets from the gateway."""

    __slots__ = (
        "address",
        "bearer",
        "connection",
        "ended",
        "extra",
        "head",
        "method",
        "name",
        "path",
        "principal",
        "query",
        "raw_path",
        "receive",
        "request_id",
        "route",
        "scope",
        "send",
        "started",
        "status",
        "subprotocols",
        "ticket",
        "traceparent",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        self.raw_path: bytes = scope["raw_path"]
        self.query: bytes = scope["query_string"]
        self.head = RequestHead(scope["headers"])
        self.connection: Connection | None = scope.get("extensions", {}).get("flotilla.connection")
        self.bearer: str | None = None
        self.ticket: str | None = None
        self.subprotocols: tuple[str, ...] = ()
        self.address = ""
        self.request_id = ""
        self.traceparent = ""
        self.route: Match | None = None
        self.name = "unmatched"
        """The path's template, for logs and metrics: a path has ids in it."""
        self.principal: Principal | None = None
        self.extra: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.started = 0.0
        self.ended = False

    @property
    def trace_id(self) -> str:
        return self.traceparent[3:35]

    def take_ticket(self) -> None:
        """Move `?ticket=` out of the query, so that it is neither forwarded nor logged (a server may log its scope)."""
        if b"ticket=" not in self.query:
            return
        kept = []
        for parameter in self.query.split(b"&"):
            name, _, value = parameter.partition(b"=")
            if name == b"ticket":
                self.ticket = unquote_to_bytes(value).decode("latin-1")
            else:
                kept.append(parameter)
        self.query = self.scope["query_string"] = b"&".join(kept)

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the answer's head, with what the gateway adds to it."""
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": headers + self.extra})

    async def finish(self, body: bytes = b"") -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        """A whole answer of the gateway's own."""
        if status != 204:
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        await self.begin(status, headers)
        await self.finish(b"" if self.method == "HEAD" else body)

    async def refuse(self, problem: Problem) -> None:
        """Answer with `problem` (RFC 9457)."""
        headers, body = rendered(problem, self.path, self.request_id)
        await self.answer(problem.status, headers, body)


def rendered(problem: Problem, path: str, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of `problem` about the request to `path`."""
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return headers, orjson.dumps(problem.body(instance=path, request_id=request_id))
