"""Forwards one HTTP request to the service behind its route, streaming both ways with bounded memory."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from gateway.http.exchange import Exchange, Receive
from gateway.http.headers import answer_headers
from gateway.proxy.replicas import Replicas
from gateway.proxy.upstream import (
    UpstreamBroken,
    UpstreamClient,
    UpstreamError,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from gateway.routes.matching import Match
from shared.problems import BadUpstream, BodyTooLarge, MalformedRequest, Problem, ServiceUnavailable, UpstreamTimeout

_BODILESS: Final = frozenset({204, 304})


class ClientGone(Exception):
    """The client closed its connection before its request was whole."""


class RequestBody:
    """A request's body, piece by piece as it arrives; ends early, and remembers why, when it may not go on."""

    __slots__ = ("_last", "_limit", "_piece", "_receive", "_seen", "failure")

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._seen = 0
        self._piece: bytes | None = None
        self._last = False
        self.failure: BodyTooLarge | ClientGone | None = None

    async def whole(self) -> bytes | None:
        """The body, if all of it is here with its first piece; else None, and the pieces are for iteration."""
        self._piece = await self._next()
        return self._piece if self._last else None

    def __aiter__(self) -> "RequestBody":
        return self

    async def __anext__(self) -> bytes:
        piece, self._piece = self._piece, None
        while not piece:
            if self._last:
                raise StopAsyncIteration
            piece = await self._next()
        return piece

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.failure = ClientGone()
            raise self.failure
        piece: bytes = message.get("body", b"")
        self._last = not message.get("more_body", False)
        self._seen += len(piece)
        if self._seen > self._limit:
            self.failure = too_large(self._limit)
            raise self.failure
        return piece


def too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body may have {limit} bytes here.")


class Forwarder:
    """Sends exchanges on to the `replicas` of each upstream, by its name."""

    def __init__(self, client: UpstreamClient, replicas: Mapping[str, Replicas], scheme: str) -> None:
        self._client, self._replicas, self._scheme = client, replicas, scheme

    async def __call__(self, exchange: Exchange, route: Match, authorization: bytes | None) -> None:
        """Forward `exchange` and carry the answer back. Raises the Problem to answer with while none has begun."""
        response = await self._send(exchange, route, authorization)
        try:
            await _carry_back(exchange, response)
        finally:
            response.close()

    async def _send(self, exchange: Exchange, route: Match, authorization: bytes | None) -> UpstreamResponse:
        head = exchange.head
        body: RequestBody | None = None
        content: bytes | RequestBody | None = None
        if head.has_body:
            length = head.content_length
            if length is not None and length > route.max_body:
                raise too_large(route.max_body)
            body = RequestBody(exchange.receive, route.max_body)
            try:
                async with asyncio.timeout(route.timeout_s):  # from then on the exchange's own limit counts
                    content = await body.whole()
            except TimeoutError:
                raise MalformedRequest("The body did not come in time.") from None
            if content is None:
                content = body
        request = UpstreamRequest(
            method=exchange.method,
            target=target(exchange),
            headers=onward_headers(exchange, self._scheme, authorization),
            body=content,
            content_length=head.content_length if content is body and body is not None else None,
            timeout_s=route.timeout_s,
        )
        try:
            return await self._replicas[route.upstream].reach(partial(self._client.send, request))
        except UpstreamError as error:
            if body is not None and body.failure is not None:
                raise body.failure from error
            raise problem_of(error, route.upstream) from error
        except UnicodeDecodeError as error:
            raise MalformedRequest("A header is not UTF-8.") from error


def target(exchange: Exchange) -> str:
    """The raw path and query, as they came; the path was found to be unambiguous ASCII before."""
    path = exchange.raw_path.decode("ascii")
    return f"{path}?{exchange.query.decode('latin-1')}" if exchange.query else path


def onward_headers(exchange: Exchange, scheme: str, authorization: bytes | None) -> list[tuple[bytes, bytes]]:
    """What the service is sent: the client's headers that may pass, and what the gateway says of the request."""
    address = exchange.address.encode()
    host = exchange.head.read.get(b"host", b"")
    quoted = b'"[%s]"' % address if b":" in address else address
    headers = [
        *exchange.head.forwarded,
        (b"x-request-id", exchange.request_id.encode()),
        (b"traceparent", exchange.traceparent.encode()),
        (b"x-forwarded-for", address),
        (b"x-forwarded-proto", scheme.encode()),
        (b"x-forwarded-host", host),
        (b"forwarded", b'for=%s;host="%s";proto=%s' % (quoted, host, scheme.encode())),
    ]
    if authorization is not None:
        headers.append((b"authorization", authorization))
    return headers


def problem_of(error: UpstreamError, upstream: str) -> Problem:
    """What the client is told of an upstream's failure."""
    match error:
        case UpstreamUnreachable():
            return ServiceUnavailable(f"The {upstream} service is not reachable.")
        case UpstreamTimedOut():
            return UpstreamTimeout(f"The {upstream} service did not answer in time.")
        case _:
            return BadUpstream(f"The {upstream} service broke off.")


async def _carry_back(exchange: Exchange, response: UpstreamResponse) -> None:
    status = response.status
    if not 200 <= status < 600:
        raise BadUpstream("The service switched protocols unasked, or answered what is no status.")
    headers = answer_headers(response.headers)
    if status in _BODILESS:
        headers = [pair for pair in headers if pair[0] != b"content-length"]
    await exchange.begin(status, headers)
    if exchange.method == "HEAD" or status in _BODILESS:
        await exchange.finish()
        return
    try:
        await _carry_body(exchange, response, _length(headers))
    except (UpstreamBroken, UpstreamTimedOut):
        if exchange.connection is not None:
            exchange.connection.cut()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not exchange.ended or task is None:
            raise
        task.uncancel()
        await exchange.finish()


async def _carry_body(exchange: Exchange, response: UpstreamResponse, left: int | None) -> None:
    """Send each piece on as it comes: an event of a stream waits for no other. `left` is the body's size, if known."""
    send = exchange.send
    while piece := await response.read():
        if left is not None:
            left -= len(piece)
            if left == 0:  # the last piece ends the answer: one write less for most of them
                await exchange.finish(piece)
                return
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await exchange.finish()


def _length(headers: list[tuple[bytes, bytes]]) -> int | None:
    return next((int(value) for name, value in headers if name == b"content-length"), None)
