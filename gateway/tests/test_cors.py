"""Cross-origin requests."""

from typing import Any

import httpx2

SIGNED = "/api/v1/rooms/7/messages"


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
