"""Forwards one HTTP request to the service of its route, streaming in both directions with bounded memory."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from gateway.http.exchange import Exchange, Receive
from gateway.http.headers import response_headers
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
from shared import deadline
from shared.identity.tokens import ADDRESS_HEADER
from shared.problems import (
    BadUpstream,
    BodyTooLarge,
    MalformedRequest,
    Problem,
    RequestTimeout,
    ServiceUnavailable,
    UpstreamTimeout,
)

_ADDRESS: Final = ADDRESS_HEADER.lower().encode()
_DEADLINE: Final = deadline.HEADER.lower().encode()
_BODILESS: Final = frozenset({204, 304})


class ClientDisconnected(Exception):
    """The client closed its connection before its request was complete."""


class RequestBody:
    """A request's body, piece by piece as it arrives. Raises, and keeps in `failure`, why it cannot continue.

    `awaited`: the next piece has not arrived; true after a time-out that the client caused.
    """

    __slots__ = ("_complete", "_limit", "_piece", "_receive", "_received_bytes", "awaited", "failure")

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._received_bytes = 0
        self._piece: bytes | None = None
        self._complete = self.awaited = False
        self.failure: BodyTooLarge | ClientDisconnected | None = None

    async def first_if_whole(self) -> bytes | None:
        """The body if its first piece is all of it; otherwise None, and iteration yields the pieces."""
        self._piece = await self._next()
        return self._piece if self._complete else None

    def __aiter__(self) -> "RequestBody":
        return self

    async def __anext__(self) -> bytes:
        piece, self._piece = self._piece, None
        while not piece:
            if self._complete:
                raise StopAsyncIteration
            piece = await self._next()
        return piece

    async def _next(self) -> bytes:
        self.awaited = True
        message = await self._receive()
        self.awaited = False
        if message["type"] == "http.disconnect":
            self.failure = ClientDisconnected()
            raise self.failure
        piece: bytes = message.get("body", b"")
        self._complete = not message.get("more_body", False)
        self._received_bytes += len(piece)
        if self._received_bytes > self._limit:
            self.failure = too_large(self._limit)
            raise self.failure
        return piece


def too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than the {limit} bytes that this path allows.")


def _stalled() -> RequestTimeout:
    return RequestTimeout("The request body did not arrive in time.")


class Forwarder:
    """Forwards exchanges to the `replicas` of each upstream, by its name.

    `signed_address(address, upstream)` is the client's address in the form that the upstream believes.
    """

    def __init__(
        self,
        client: UpstreamClient,
        replicas: Mapping[str, Replicas],
        scheme: str,
        signed_address: Callable[[str, str], bytes],
    ) -> None:
        self._client, self._replicas, self._scheme = client, replicas, scheme
        self._signed_address = signed_address

    async def __call__(self, exchange: Exchange, route: Match, authorization: bytes | None) -> None:
        """Forward `exchange` and send the response back. Raises Problem only while no response has begun."""
        response = await self._send(exchange, route, authorization)
        try:
            await _send_back(exchange, response)
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
                async with asyncio.timeout(route.timeout_s):  # the upstream request has its own
                    content = await body.first_if_whole()
            except TimeoutError:
                raise _stalled() from None
            if content is None:
                content = body
        headers = request_headers(exchange, self._scheme, authorization, route.timeout_s)
        if route.client_address:
            headers.append((_ADDRESS, self._signed_address(exchange.address, route.upstream)))
        request = UpstreamRequest(
            method=exchange.method,
            target=target(exchange),
            headers=headers,
            body=content,
            content_length=head.content_length if content is body and body is not None else None,
            timeout_s=route.timeout_s,
        )
        try:
            return await self._replicas[route.upstream].reach(partial(self._client.send, request))
        except UpstreamError as error:
            if body is not None and body.failure is not None:
                raise body.failure from error
            if body is not None and body.awaited and isinstance(error, UpstreamTimedOut):
                raise _stalled() from error
            raise problem_of(error, route.upstream) from error
        except UnicodeDecodeError as error:
            raise MalformedRequest("A header is not valid UTF-8.") from error


def target(exchange: Exchange) -> str:
    """The raw path and query as received; check_unambiguous has made sure that the path is ASCII."""
    path = exchange.raw_path.decode("ascii")
    return f"{path}?{exchange.query.decode('latin-1')}" if exchange.query else path


def request_headers(
    exchange: Exchange, scheme: str, authorization: bytes | None, timeout_s: float | None
) -> list[tuple[bytes, bytes]]:
    """The headers for the service: the client's that pass, and the gateway's own about the request.

    `timeout_s` becomes the deadline of the service; None for an exchange without a time limit.
    """
    address = exchange.address.encode()
    host = exchange.head.known.get(b"host", b"")
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
    if timeout_s is not None:
        headers.append((_DEADLINE, deadline.header(timeout_s).encode()))
    return headers


def problem_of(error: UpstreamError, upstream: str) -> Problem:
    """The problem that reports an upstream's failure to the client."""
    match error:
        case UpstreamUnreachable():
            return ServiceUnavailable(f"The {upstream} service is unreachable.")
        case UpstreamTimedOut():
            return UpstreamTimeout(f"The {upstream} service did not answer in time.")
        case _:
            return BadUpstream(f"The {upstream} service closed the connection or sent an invalid response.")


async def _send_back(exchange: Exchange, response: UpstreamResponse) -> None:
    status = response.status
    if not 200 <= status < 600:
        raise BadUpstream("The service sent a status that is not valid here.")
    headers = response_headers(response.headers)
    if status in _BODILESS:
        headers = [pair for pair in headers if pair[0] != b"content-length"]
    await exchange.begin(status, headers)
    if exchange.method == "HEAD" or status in _BODILESS:
        await exchange.finish()
        return
    try:
        await _send_body(exchange, response, _length(headers))
    except (UpstreamBroken, UpstreamTimedOut):
        if exchange.connection is not None:
            exchange.connection.abort()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not exchange.stream_ended or task is None:
            raise
        task.uncancel()
        await exchange.finish()


async def _send_body(exchange: Exchange, response: UpstreamResponse, left: int | None) -> None:
    """Send each piece as soon as it arrives; `left` is the size of the body, if known."""
    send = exchange.send
    while piece := await response.read():
        if left is not None:
            left -= len(piece)
            if left == 0:  # saves one write for most responses
                await exchange.finish(piece)
                return
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await exchange.finish()


def _length(headers: list[tuple[bytes, bytes]]) -> int | None:
    return next((int(value) for name, value in headers if name == b"content-length"), None)
