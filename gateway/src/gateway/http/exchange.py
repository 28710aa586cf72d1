"""One HTTP exchange: the request, what the gateway has learned about it, and how it is answered."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

import orjson

from gateway.http.headers import RequestHead
from gateway.routes.matching import Match
from shared.identity import Principal
from shared.problems import MEDIA_TYPE, Problem
from shared.web import connection

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class Exchange:
    """A request, its sender, and the headers that the gateway adds to the response."""

    __slots__ = (
        "added_headers",
        "address",
        "bearer",
        "connection",
        "head",
        "method",
        "path",
        "principal",
        "query",
        "raw_path",
        "receive",
        "request_id",
        "route",
        "route_name",
        "scope",
        "send",
        "started",
        "status",
        "stream_ended",
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
        self.connection = connection.of(scope)
        self.bearer: str | None = None
        """The access token from a WebSocket's subprotocols; one in `Authorization` is read from the headers."""
        self.ticket: str | None = None
        self.subprotocols: tuple[str, ...] = ()
        self.address = ""
        self.request_id = ""
        self.traceparent = ""
        self.route: Match | None = None
        self.route_name = "unmatched"
        """The path's template, for logs and metrics: the path itself contains ids."""
        self.principal: Principal | None = None
        self.added_headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        """The response's status; 0 until the response has begun."""
        self.started = 0.0
        self.stream_ended = False
        """Whether the gateway ended this stream because its token, session, membership or tenant ended."""

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
        """Send the response's status and headers, with those that the gateway adds."""
        self.status = status
        start = {"type": "http.response.start", "status": status, "headers": headers + self.added_headers}
        await connection.begin_response(self.connection, self.send, start)

    async def finish(self, body: bytes = b"") -> None:
        """Send the last piece of the response's body."""
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        """Send a whole response that the gateway itself makes."""
        if status != 204:
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        await self.begin(status, headers)
        await self.finish(b"" if self.method == "HEAD" else body)

    async def refuse(self, problem: Problem) -> None:
        """Respond with `problem` (RFC 9457)."""
        headers, body = rendered(problem, self.path, self.request_id)
        await self.respond(problem.status, headers, body)


def rendered(problem: Problem, path: str, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of `problem` about the request to `path`."""
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return headers, orjson.dumps(problem.body(instance=path, request_id=request_id))
