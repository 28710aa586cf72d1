"""The client for calls between services: time-outs, the caller's deadline, trace and request id, and whose call it is.

The one place that imports the HTTP client (docs/decisions/0003).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any, Protocol

import httpx2
import structlog
from fastapi import Depends

from shared.problems import ServiceUnavailable
from shared.resources import MissingSetting, resource
from shared.settings import variable_of
from shared.telemetry.traces import traceparent

DEADLINE_HEADER = "X-Deadline"
"""Epoch seconds after which nobody waits for the answer any more."""

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class Tokens(Protocol):
    """What signs the internal token of a call: identity.tokens.Signer."""

    def sign_as_service(self, audience: str) -> str: ...
    def sign_for(self, principal: Any, audience: str, ttl_s: int = 60) -> str: ...


class ServiceClient:
    """Calls one other service. Answers of any status come back; a service that is away raises ServiceUnavailable."""

    def __init__(self, base_url: str, audience: str, tokens: Tokens, *, timeout_s: float = 3.0) -> None:
        self._audience, self._tokens, self._timeout_s = audience, tokens, timeout_s
        limits = httpx2.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=30)
        # Nor do calls that carry a token go to a proxy: see PlainClient.
        self._http = httpx2.AsyncClient(
            base_url=base_url, limits=limits, transport=httpx2.AsyncHTTPTransport(retries=1, limits=limits)
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        principal: Any = None,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx2.Response:
        """Send one request, for `principal` where one is given, else as this service itself.

        Raises ServiceUnavailable when no whole answer came in `timeout_s`, or it is a 5xx.
        """
        left_s = self._time_left(timeout_s or self._timeout_s)
        try:
            async with asyncio.timeout(left_s):  # the client's own counts for each read anew
                reply = await self._http.request(
                    method, path, json=json, params=params, headers=self._headers(principal), timeout=left_s
                )
        except (httpx2.TransportError, TimeoutError) as error:
            raise ServiceUnavailable(f"The {self._audience} service is unavailable.") from error
        if reply.status_code >= 500:  # what a 4xx means, the caller knows
            raise ServiceUnavailable(f"The {self._audience} service returned an error.")
        return reply

    @asynccontextmanager
    async def stream(self, path: str, *, principal: Any = None) -> AsyncIterator[httpx2.Response]:
        """A streaming GET, for contents too large to hold; `timeout_s` of silence end it.

        Raises ServiceUnavailable where no answer came, or it broke off while the block read it.
        """
        try:
            headers = self._headers(principal)
            async with self._http.stream("GET", path, headers=headers, timeout=self._timeout_s) as reply:
                yield reply
        except httpx2.TransportError as error:
            raise ServiceUnavailable(f"The {self._audience} service is unavailable.") from error

    async def close(self) -> None:
        await self._http.aclose()

    def _headers(self, principal: Any) -> dict[str, str]:
        token = (
            self._tokens.sign_as_service(self._audience)
            if principal is None
            else self._tokens.sign_for(principal, self._audience)
        )
        headers = {"Authorization": f"Bearer {token}"}
        if (request_id := structlog.contextvars.get_contextvars().get("request_id")) is not None:
            headers["X-Request-ID"] = request_id
        if (parent := traceparent()) is not None:
            headers["traceparent"] = parent
        if (until := deadline.get()) is not None:
            headers[DEADLINE_HEADER] = f"{until:.3f}"
        return headers

    @staticmethod
    def _time_left(timeout_s: float) -> float:
        until = deadline.get()
        return timeout_s if until is None else max(0.05, min(timeout_s, until - time.time()))


class PlainClient:
    """Fetches public documents inside the fleet, such as a JWKS; sends no identity."""

    def __init__(self) -> None:
        # With a transport of its own the client asks no proxy that the environment names: none leads into the fleet.
        self._http = httpx2.AsyncClient(timeout=2.0, transport=httpx2.AsyncHTTPTransport())

    async def json(self, url: str) -> Mapping[str, Any]:
        """The JSON object at `url`. Raises ServiceUnavailable where it cannot be had."""
        try:
            reply = await self._http.get(url)
            reply.raise_for_status()
        except httpx2.HTTPError as error:
            raise ServiceUnavailable(f"{url} is unavailable.") from error
        document: Mapping[str, Any] = reply.json()
        return document

    async def close(self) -> None:
        await self._http.aclose()


class Clients:
    """One client for each other service, by its name."""

    def __init__(self, urls: Mapping[str, str], tokens: Tokens) -> None:
        self._clients = {name: ServiceClient(url, name, tokens) for name, url in urls.items()}

    def to(self, service: str) -> ServiceClient:
        """The client for calls to `service`. Raises MissingSetting when the settings do not say where it is."""
        if service not in self._clients:
            raise MissingSetting(variable_of(service))
        return self._clients[service]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


def client_of(service: str) -> Any:
    """Declare in a path operation's signature that it calls `service`."""

    async def client(clients: Annotated[Clients, resource(Clients)]) -> ServiceClient:
        return clients.to(service)

    return Depends(client)
