"""The one TLS context of a process's clients: loading the trusted certificates costs 50 ms and a megabyte each time."""

import ssl
from functools import cache

import httpx2


@cache
def client_context() -> ssl.SSLContext:
    """Verifies servers by the certificates that httpx trusts; a change applies to all clients."""
    return httpx2.create_ssl_context()
