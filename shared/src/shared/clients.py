"""Typed calls between services: time-outs, deadline, trace and request id, and the identity of the caller.

A caller declares a small model of the fields that it reads; everything else in an answer is ignored. The one place that
imports the HTTP client (docs/decisions/0003).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any, Final, TypeVar, overload

import httpx2
import structlog
from fastapi import Depends
from pydantic import BaseModel, ValidationError

from shared import deadline
from shared.identity.principal import Principal
from shared.identity.tokens import Signer
from shared.problems import MEDIA_TYPE, ServiceUnavailable
from shared.resources import MissingSetting, resource
from shared.settings import variable_of
from shared.telemetry.traces import traceparent
from shared.tls import client_context

TIMEOUT_S: Final = 3.0
KEEP_ALIVE_S: Final = 4.0
"""An idle connection is dropped after this, long before the service closes it (shared/server.py)."""

_IDEMPOTENT: Final = frozenset({"GET", "PUT", "DELETE"})  # RFC 9110, section 9.2.2
_CONNECTION_LOST: Final = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
_CHUNK_BYTES: Final = 256 * 1024

M = TypeVar("M", bound=BaseModel)

log = structlog.get_logger(__name__)


class UnexpectedAnswer(ServiceUnavailable):
    """Another service refused a call that the request needs, or its answer cannot be read."""

    status, title = 503, "Another service gave an unexpected answer"

    def __init__(self, detail: str, *, received_status: int, received_code: str | None = None) -> None:
        """`received_code` is the problem code of a refusal; None where the answer is not a problem."""
        super().__init__(detail)
        self.received_status, self.received_code = received_status, received_code


class ServiceClient:
    """Calls one other service, as this service or on behalf of a person.

    Every method raises ServiceUnavailable where no whole answer came in time or the answer is a 5xx, and
    UnexpectedAnswer (a subclass) for any other answer that its caller did not ask for.
    """

    def __init__(self, base_url: str, audience: str, signer: Signer, *, timeout_s: float = TIMEOUT_S) -> None:
        self._audience, self._signer, self._timeout_s = audience, signer, timeout_s
        self._http = httpx2.AsyncClient(base_url=base_url, transport=_transport(), follow_redirects=False)
        self._fresh = httpx2.AsyncClient(transport=_transport(idle_connections=0), follow_redirects=False)

    async def read(
        self,
        path: str,
        model: type[M],
        *,
        principal: Principal | None = None,
        params: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> M | None:
        """GET `path`; None where the service answers that there is no such object (a 404 problem)."""
        answer = await self._call("GET", path, principal, timeout_s, params=params)
        if answer.status_code == 404 and _problem_code(answer) is not None:
            return None
        return self._parsed(answer, model)

    @overload
    async def send(
        self,
        method: str,
        path: str,
        body: BaseModel | None,
        model: type[M],
        *,
        principal: Principal | None = None,
        timeout_s: float | None = None,
    ) -> M: ...
    @overload
    async def send(
        self,
        method: str,
        path: str,
        body: BaseModel | None,
        model: None = None,
        *,
        principal: Principal | None = None,
        timeout_s: float | None = None,
    ) -> None: ...
    async def send(
        self,
        method: str,
        path: str,
        body: BaseModel | None,
        model: type[M] | None = None,
        *,
        principal: Principal | None = None,
        timeout_s: float | None = None,
    ) -> M | None:
        """Send a write; the answer as `model`, or None without one."""
        answer = await self._call(method, path, principal, timeout_s, body=body)
        if model is None:
            self._check(answer)
            return None
        return self._parsed(answer, model)

    @asynccontextmanager
    async def stream(self, path: str, *, principal: Principal | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        """GET contents that are too large to hold, in pieces; the time-out bounds each silence, not the whole.

        The block is cancelled at the deadline, and ends with ServiceUnavailable where the contents break off.
        """
        left_s = self._left_s(None)
        headers = self._headers(principal, left_s)
        limit = asyncio.timeout(left_s)
        request = self._http.build_request("GET", path, headers=headers, timeout=self._timeout_s)
        try:
            async with limit, aclosing(await self._sent(request, stream=True)) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    self._check(answer)
                yield answer.aiter_bytes(_CHUNK_BYTES)
        except httpx2.RequestError as error:
            raise self._unavailable() from error
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise self._unavailable() from error

    async def close(self) -> None:
        await self._http.aclose()
        await self._fresh.aclose()

    async def _call(
        self,
        method: str,
        path: str,
        principal: Principal | None,
        timeout_s: float | None,
        *,
        params: Mapping[str, str] | None = None,
        body: BaseModel | None = None,
    ) -> httpx2.Response:
        """The whole answer, whatever its status."""
        left_s = self._left_s(timeout_s or self._timeout_s)
        headers = self._headers(principal, left_s)
        content = None
        if body is not None:
            content, headers["Content-Type"] = body.model_dump_json(), "application/json"
        request = self._http.build_request(
            method, path, headers=headers, params=params, content=content, timeout=left_s
        )
        try:
            async with asyncio.timeout(left_s):  # the HTTP client's own time-out starts again with each read
                return await self._sent(request)
        except (httpx2.RequestError, TimeoutError) as error:
            raise self._unavailable() from error

    async def _sent(self, request: httpx2.Request, *, stream: bool = False) -> httpx2.Response:
        """Send the request; again, on a fresh connection, where it is idempotent and its connection was lost.

        A service that restarts closes all of its idle connections at once, so a second one of the pool may be lost too.
        """
        try:
            return await self._http.send(request, stream=stream)
        except _CONNECTION_LOST:
            if request.method not in _IDEMPOTENT:
                raise
            return await self._fresh.send(request, stream=stream)

    def _parsed(self, answer: httpx2.Response, model: type[M]) -> M:
        self._check(answer)
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            reasons = [f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in error.errors()[:5]]
            log.error("answer_unreadable", service=self._audience, model=model.__qualname__, reasons=reasons)
            raise UnexpectedAnswer(
                f"The {self._audience} service's answer cannot be read.", received_status=answer.status_code
            ) from None

    def _check(self, answer: httpx2.Response) -> None:
        """Raises ServiceUnavailable for a 5xx, UnexpectedAnswer for any other status than 2xx."""
        if answer.is_success:
            return
        if answer.is_server_error:
            raise self._unavailable()
        status, code, sent = answer.status_code, _problem_code(answer), answer.request
        log.info(
            "call_refused", service=self._audience, method=sent.method, path=sent.url.path, status=status, code=code
        )
        raise UnexpectedAnswer(
            f"The {self._audience} service refused a call.", received_status=status, received_code=code
        )

    def _unavailable(self) -> ServiceUnavailable:
        return ServiceUnavailable(f"The {self._audience} service is unavailable.")

    def _left_s(self, timeout_s: float | None) -> float | None:
        """The seconds that a call may take, None without a bound. Raises ServiceUnavailable where none are left."""
        left_s = deadline.remaining_s()
        if left_s is None:
            return timeout_s
        if left_s <= 0:
            raise ServiceUnavailable(f"There is no time left to call the {self._audience} service.")
        return left_s if timeout_s is None else min(timeout_s, left_s)

    def _headers(self, principal: Principal | None, left_s: float | None) -> dict[str, str]:
        token = (
            self._signer.sign_as_service(self._audience)
            if principal is None
            else self._signer.sign_for(principal, self._audience)
        )
        headers = {"Authorization": f"Bearer {token}"}
        if (request_id := structlog.contextvars.get_contextvars().get("request_id")) is not None:
            headers["X-Request-ID"] = request_id
        if (parent := traceparent()) is not None:
            headers["traceparent"] = parent
        if left_s is not None:
            headers[deadline.HEADER] = deadline.header(left_s)
        return headers


class PlainClient:
    """Fetches public documents inside the fleet, such as a JWKS; sends no identity."""

    def __init__(self) -> None:
        self._http = httpx2.AsyncClient(timeout=2.0, transport=_transport())

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

    def __init__(self, urls: Mapping[str, str], signer: Signer, *, timeout_s: float = TIMEOUT_S) -> None:
        self._clients = {name: ServiceClient(url, name, signer, timeout_s=timeout_s) for name, url in urls.items()}

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


def _transport(idle_connections: int = 20) -> httpx2.AsyncHTTPTransport:
    """Connections to services: explicit, so that no call goes to a proxy that the environment names."""
    limits = httpx2.Limits(
        max_connections=50, max_keepalive_connections=idle_connections, keepalive_expiry=KEEP_ALIVE_S
    )
    return httpx2.AsyncHTTPTransport(verify=client_context(), retries=1, limits=limits)


class _Refusal(BaseModel):
    """The member of a problem (RFC 9457) that a caller may act on."""

    code: str


def _problem_code(answer: httpx2.Response) -> str | None:
    if not answer.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
        return None
    try:
        return _Refusal.model_validate_json(answer.content).code
    except ValidationError:
        return None
