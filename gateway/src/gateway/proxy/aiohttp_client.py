"""UpstreamClient over aiohttp: bodies stay encoded, redirects are not followed, no headers are added."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway.proxy.upstream import (
    UpstreamBroken,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from shared.clients import KEEP_ALIVE_S

SILENT_STREAM_S: Final = 45.0  # services send a keep-alive every 15 s (shared/web/sse.py)

_CONNECT_S: Final = 2.0
_READ_BUFFER_BYTES: Final = 64 * 1024
_AUTOMATIC_HEADERS: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
_HEAD_BYTES: Final = 64 * 1024
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110, section 9.2.2


class AiohttpClient:
    """One pool for all upstreams, with at most `connections` to each replica."""

    def __init__(self, connections: int = 512) -> None:
        pool = partial(aiohttp.TCPConnector, limit=0, limit_per_host=connections, ttl_dns_cache=10)
        self._pooled = _session(pool(keepalive_timeout=KEEP_ALIVE_S))
        self._fresh = _session(pool(force_close=True))

    async def send(self, request: UpstreamRequest, origin: str) -> UpstreamResponse:
        try:
            response = await self._sent(request, origin)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise UpstreamUnreachable from error
        except TimeoutError as error:
            raise UpstreamTimedOut from error
        except aiohttp.ClientError as error:
            raise UpstreamBroken from error
        return _Response(response)

    async def _sent(self, request: UpstreamRequest, origin: str) -> aiohttp.ClientResponse:
        """Send the request; again, on a fresh connection, where it is repeatable and its connection was lost.

        A service that restarts closes all of its idle connections at once, so a second one of the pool may be lost too.
        """
        try:
            return await _request(self._pooled, request, origin)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            if request.method not in _IDEMPOTENT or not isinstance(request.body, bytes | None):
                raise
            return await _request(self._fresh, request, origin)

    async def close(self) -> None:
        await self._pooled.close()
        await self._fresh.close()


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_AUTOMATIC_HEADERS,
        auto_decompress=False,
        read_bufsize=_READ_BUFFER_BYTES,
        max_line_size=_HEAD_BYTES,
        max_field_size=_HEAD_BYTES,
        timeout=_timeout(None),
    )
    session._retry_connection = False
    return session


async def _request(session: aiohttp.ClientSession, request: UpstreamRequest, origin: str) -> aiohttp.ClientResponse:
    return await session.request(
        request.method,
        URL(origin + request.target, encoded=True),
        headers=_headers(request),
        data=request.body,
        allow_redirects=False,
        timeout=_timeout(request.timeout_s),
    )


class _Response:
    __slots__ = ("_content", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._content = response.content
        self.status: int = response.status
        self.headers: Sequence[tuple[bytes, bytes]] = response.raw_headers

    async def read(self) -> bytes:
        try:
            return await self._content.readany()
        except TimeoutError as error:
            raise UpstreamTimedOut from error
        except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError) as error:
            raise UpstreamBroken from error

    def close(self) -> None:
        self._response.close()


def _headers(request: UpstreamRequest) -> CIMultiDict[str]:
    """Decode as UTF-8, because aiohttp encodes headers so: the bytes stay the same. Raises UnicodeDecodeError."""
    headers = CIMultiDict([(name.decode("ascii"), value.decode()) for name, value in request.headers])
    if request.content_length is not None:
        headers["content-length"] = str(request.content_length)
    return headers


@lru_cache(maxsize=256)
def _timeout(total_s: float | None) -> aiohttp.ClientTimeout:
    """aiohttp's time-out object for a route's limit, cached because it is the same for each request.

    A stream has no limit, but its service is never silent for longer than a keep-alive: a frozen one is.
    """
    silence_s = SILENT_STREAM_S if total_s is None else None
    return aiohttp.ClientTimeout(total=total_s, sock_connect=_CONNECT_S, connect=None, sock_read=silence_s)
