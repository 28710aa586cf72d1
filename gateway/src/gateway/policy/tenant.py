"""The tenant of a request is the token's; a subdomain or header that names another tenant is refused."""

import re
from typing import Final
from urllib.parse import urlsplit

from gateway.http.exchange import Exchange
from shared.identity import Principal
from shared.problems import InvalidInput, TenantMismatch

_NAME: Final = re.compile(rb"[a-z0-9][a-z0-9-]{1,62}")


class TenantRule:
    """Reads the tenant that a request names: `<slug>.<host of PUBLIC_URL>`, or `X-Tenant-ID` with an id or a slug."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url
        self._scheme, self._netloc = urlsplit(public_url)[:2]
        self._parent = f".{urlsplit(public_url).hostname or 'localhost'}".encode()

    def check(self, exchange: Exchange, principal: Principal) -> None:
        """Raises TenantMismatch where the request names another tenant than the token's."""
        known = exchange.head.known
        header = known.get(b"x-tenant-id")
        subdomain = self._subdomain(known.get(b"host", b""))
        if header is None and subdomain is None:
            return
        own = _names_of(principal)
        if (header is not None and header.lower() not in own) or (subdomain is not None and subdomain not in own):
            raise TenantMismatch

    def named(self, exchange: Exchange) -> bytes | None:
        """The tenant that a request without a token names, such as a sign-in; None if it names none."""
        header = exchange.head.known.get(b"x-tenant-id")
        subdomain = self._subdomain(exchange.head.known.get(b"host", b""))
        if header is None:
            return subdomain
        if _NAME.fullmatch(header.lower()) is None:
            raise InvalidInput("X-Tenant-ID must be a tenant's id or slug.")
        if subdomain is not None and subdomain != header.lower():
            raise TenantMismatch("The subdomain and X-Tenant-ID name different tenants.")
        return header.lower()

    def origin(self, exchange: Exchange) -> str:
        """The origin that the request is sent to: PUBLIC_URL, or a tenant's subdomain of it."""
        slug = self._subdomain(exchange.head.known.get(b"host", b""))
        return self._public_url if slug is None else f"{self._scheme}://{slug.decode()}.{self._netloc}"

    def _subdomain(self, host: bytes) -> bytes | None:
        name = host.lower().partition(b":")[0].rstrip(b".")  # `acme.example.` is `acme.example` (RFC 1034, section 3.1)
        if not name.endswith(self._parent):
            return None
        slug = name[: -len(self._parent)]
        return slug if _NAME.fullmatch(slug) else None


def _names_of(principal: Principal) -> tuple[bytes, ...]:
    slug = (principal.tenant_slug or "").encode()
    return (str(principal.tenant_id).encode(), slug) if principal.tenant_id is not None else ()
