"""Requests to addresses that a user or a client chose: issuers, key sets, logout endpoints, webhooks, logos.

Such a request must not reach what only this network reaches (server-side request forgery). The host is resolved once,
each address found must be public, and the connection goes to one of those: a name server that gives another answer a
moment later changes nothing. TLS is verified for the name. Redirects are refused, the whole exchange has one time
limit, and the answer one of size. docs/decisions/0027-outbound-requests.md says how.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, ClassVar, Final, TypeAlias

import httpx2
import orjson
from pydantic import Field, IPvAnyNetwork

from shared.public_addresses import NEVER, Address, is_in, is_public, overlap
from shared.settings import Section
from shared.tls import client_context

TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 256 * 1024
_CONNECT_S: Final = 2.0
_MOST_ADDRESSES: Final = 3  # tried one after the other, so that one unreachable address of a host is no outage
_MOST_URL: Final = 2048

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host and port. Raises OSError."""


class OutboundError(Exception):
    """No usable answer came. The text may be shown to the person who chose the address."""

    detail: ClassVar[str] = "The request failed."

    def __str__(self) -> str:
        return self.detail


class AddressRefused(OutboundError):
    """The URL is not one that may be requested, or its host has an address that is not public."""

    detail = "The URL must use https, without user name and fragment, and its host must have public addresses only."


class Unreachable(OutboundError):
    """The name or the connection failed, TLS included, or the connection broke off."""

    detail = "The host does not respond, or not with HTTP over valid TLS."


class TimedOut(OutboundError):
    """The whole exchange took longer than its limit."""

    detail = "The host takes too long to respond."


class Redirected(OutboundError):
    """The answer points somewhere else; redirects are not followed."""

    detail = "The host answers with a redirect, which is not followed."


class AnswerTooLarge(OutboundError):
    """The answer is larger than its limit; the rest was not read."""

    detail = "The answer is too large."


class AnswerUnreadable(OutboundError):
    """The answer is compressed although no compression was offered, or is not what was asked for."""

    detail = "The answer cannot be read."


class OutboundSettings(Section):
    """What requests to addresses that users chose may reach, besides the public internet over https."""

    networks: tuple[IPvAnyNetwork, ...] = Field(
        default=(), description="Private networks that may be requested too, for an issuer inside a company, as JSON."
    )
    allow_loopback: bool | None = Field(
        default=None,
        description="Whether this machine may be requested, also over http; unset: only in development and testing.",
    )

    def production_errors(self) -> list[str]:
        """Why these settings are not for production, a line each."""
        errors = ["OUTBOUND__ALLOW_LOOPBACK is for development only"] if self.allow_loopback else []
        return errors + [
            f"OUTBOUND__NETWORKS has {network}, which no setting may open"
            for network in self.networks
            if any(overlap(network, never) for never in NEVER)
        ]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer that is not a redirect, whatever its status."""

    status: int
    headers: Mapping[str, str]
    content: bytes


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of the host, as the system finds them. Raises OSError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that no name server can have
        raise OSError("not a host name") from error
    return [str(sockaddr[0]) for *_, sockaddr in found]


class Outbound:
    """Sends requests to addresses that were chosen outside; each opens a connection of its own."""

    def __init__(
        self,
        settings: OutboundSettings,
        *,
        development: bool,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`development` decides where `allow_loopback` is unset."""
        self._loopback = development if settings.allow_loopback is None else settings.allow_loopback
        self._networks = settings.networks
        self._resolver = resolver
        self._tls = tls or client_context()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
    ) -> Answer:
        """Send one request, and read its whole answer. Raises a subclass of OutboundError."""
        target = self.checked(url)
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await self._resolved(target)
                return await self._sent(method, target, addresses, headers or {}, content, max_bytes)
        except TimeoutError:
            raise TimedOut from None

    async def json(self, url: str, *, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at `url`. Raises a subclass of OutboundError."""
        answer = await self.send("GET", url, headers={"Accept": "application/json", **(headers or {})})
        if answer.status != 200:
            raise AnswerUnreadable
        return json_object(answer)

    def checked(self, url: str) -> httpx2.URL:
        """The parsed URL, before its host is resolved. Raises AddressRefused."""
        try:
            parsed = httpx2.URL(url) if len(url) <= _MOST_URL else None
        except httpx2.InvalidURL:
            parsed = None
        if parsed is None or not parsed.host or parsed.userinfo or parsed.fragment or parsed.port == 0:
            raise AddressRefused
        if parsed.scheme != "https" and not (parsed.scheme == "http" and self._loopback):
            raise AddressRefused
        return parsed

    async def _resolved(self, url: httpx2.URL) -> list[Address]:
        """The host's addresses, all of which may be connected to. Raises AddressRefused, Unreachable."""
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = [ip_address(written) for written in await self._resolver(url.raw_host.decode().strip("[]"), port)]
        except OSError:
            raise Unreachable from None
        except ValueError:  # an address with a zone
            raise AddressRefused from None
        if not found:
            raise Unreachable
        if not all(self._is_allowed(address, url.scheme) for address in found):
            raise AddressRefused
        return list(dict.fromkeys(found))[:_MOST_ADDRESSES]

    def _is_allowed(self, address: Address, scheme: str) -> bool:
        if self._loopback and address.is_loopback:
            return True
        if scheme != "https":
            return False
        return is_public(address) or (is_in(address, self._networks) and not is_in(address, NEVER))

    async def _sent(
        self,
        method: str,
        url: httpx2.URL,
        addresses: Sequence[Address],
        headers: Mapping[str, str],
        content: bytes | None,
        max_bytes: int,
    ) -> Answer:
        """The answer of the first address that accepts a connection."""
        for address in addresses:
            request = httpx2.Request(
                method,
                url.copy_with(host=str(address)),
                headers={
                    "Accept-Encoding": "identity",
                    "User-Agent": "flotilla",
                    **headers,
                    "Host": url.netloc.decode(),
                },
                content=content,
                extensions={
                    "sni_hostname": url.raw_host.decode().strip("[]"),  # TLS is verified for this name
                    "timeout": httpx2.Timeout(None, connect=_CONNECT_S).as_dict(),
                },
            )
            try:
                # A transport of its own: a kept connection would be found by its address, and belong to another name.
                async with httpx2.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
                    return await _read(await transport.handle_async_request(request), max_bytes)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue  # nothing was sent
            except (httpx2.TransportError, httpx2.StreamError, ssl.SSLError):
                raise Unreachable from None
        raise Unreachable


async def _read(answer: httpx2.Response, max_bytes: int) -> Answer:
    async with aclosing(answer):
        if 300 <= answer.status_code < 400:
            raise Redirected
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise AnswerUnreadable
        content = bytearray()
        async for piece in answer.aiter_raw():
            content += piece
            if len(content) > max_bytes:
                raise AnswerTooLarge
        return Answer(answer.status_code, answer.headers, bytes(content))


def json_object(answer: Answer) -> dict[str, Any]:
    """The JSON object that the answer is. Raises AnswerUnreadable."""
    try:
        document = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        raise AnswerUnreadable from None
    if not isinstance(document, dict):
        raise AnswerUnreadable
    return document
