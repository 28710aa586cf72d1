"""Cross-origin requests."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.routes.file import read

SIGNED = "/api/v1/rooms/7/messages"
CONTRACT = Path(__file__).parents[2] / "auth-service" / "contracts" / "openapi.json"


async def test_only_configured_origins_are_allowed(open_edge: Any, sign_in: Any) -> None:
    edge = await open_edge(cors={"origins": ("https://app.example",)})
    ours, theirs = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}
    asks = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization, if-match"}
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        preflight = await client.options("/api/v1/profile", headers=ours | asks)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert "PATCH" in preflight.headers["access-control-allow-methods"]
        assert preflight.headers["access-control-allow-headers"] == "authorization, if-match"
        refused = await client.options("/api/v1/profile", headers=theirs | asks)
        assert "access-control-allow-origin" not in refused.headers
        reply = await client.get(SIGNED, headers=sign_in("ann") | ours)
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "X-Request-ID" in reply.headers["access-control-expose-headers"]
        failed = await client.get(SIGNED, headers=ours)
        assert (failed.status_code, failed.headers["access-control-allow-origin"]) == (401, "https://app.example")
        other = await client.get(SIGNED, headers=sign_in("ann") | theirs)
        assert "access-control-allow-origin" not in other.headers
        assert reply.headers["vary"] == other.headers["vary"] == "Origin"  # for caches on the way


@pytest.mark.parametrize("origins", [("https://app.example",), ("*",)])
@pytest.mark.parametrize(
    "path", ["/oauth2/authorize", "/oauth2/consent", "/oauth2/device", "/auth/pages/sign-in", "/auth/upstream/7/start"]
)
async def test_no_script_of_another_origin_reads_a_page(open_edge: Any, origins: tuple[str, ...], path: str) -> None:
    """RFC 9700, section 2.6: CORS must not be supported at the authorization endpoint."""
    edge = await open_edge(cors={"origins": origins})
    origin = {"Origin": "https://app.example"}
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        replies = [
            await client.get(path, headers=origin),
            await client.post(path, headers=origin),
            await client.put(path, headers=origin),
            await client.options(path, headers=origin | asks),
        ]
        token = await client.post("/oauth2/token", headers=origin)
        metadata = await client.get("/.well-known/oauth-authorization-server", headers=origin)
    assert [name for reply in replies for name in reply.headers if name.startswith("access-control-")] == []
    assert all("access-control-allow-origin" in reply.headers for reply in (token, metadata))


def test_every_page_is_marked_in_the_table() -> None:
    """The pages are the paths without a contract, and the endpoints to which a client sends the browser."""
    contract = set(json.loads(CONTRACT.read_text())["paths"])
    sent_to = {"/oauth2/authorize", "/oauth2/logout"}
    routes = [route for route in read().routes if route.upstream == "auth"]
    undocumented = {
        route.path
        for route in routes
        if route.path not in contract and not any(path.startswith(f"{route.path}/") for path in contract)
    }
    assert {route.path for route in routes if route.pages} == undocumented | sent_to


_ALWAYS_SHOWN = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified"}
"""Fetch shows these without being asked (WHATWG Fetch, section 2.2.2: CORS-safelisted response-header names)."""

_FOR_BROWSERS = {
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "content-security-policy",
    "date",
    "referrer-policy",
    "x-content-type-options",
    "x-frame-options",
}
"""Addressed to the browser; no page needs to read them."""


async def test_a_page_reads_every_header_that_it_needs(
    open_edge: Any, sign_in: Any, upstream: Any, helpers: Any
) -> None:
    """What the services send, and what the gateway adds to it; a refusal has headers of its own."""
    services_headers = [
        b"Accept-Ranges", b"Allow", b"Cache-Control", b"Content-Disposition", b"Content-Range", b"Content-Type",
        b"Content-Security-Policy", b"Deprecation", b"ETag", b"Idempotency-Replayed", b"Link", b"Location",
        b"Retry-After", b"Sunset", b"Traceparent", b"Vary", b"WWW-Authenticate",
    ]  # fmt: skip

    async def service(scope: Any, receive: Any, send: Any) -> None:
        await helpers.reply(send, 200, b"", [(name, b"x") for name in services_headers])

    upstream.handler = service
    edge = await open_edge(cors={"origins": ("https://app.example",)})
    origin = {"Origin": "https://app.example"}
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        replies = [
            await client.get(SIGNED, headers=sign_in("ann") | origin),
            await client.get(SIGNED, headers=origin),
            await client.get(SIGNED, headers=sign_in("ann", scopes=[]) | origin),
            await client.put("/api/v1/jobs", headers=sign_in("ann") | origin),
        ]
    assert [reply.status_code for reply in replies] == [200, 401, 403, 405]
    for reply in replies:
        shown = {name.strip().lower() for name in reply.headers["access-control-expose-headers"].split(",")}
        assert set(reply.headers) - shown - _ALWAYS_SHOWN - _FOR_BROWSERS == set()
