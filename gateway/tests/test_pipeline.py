"""The request pipeline: unknown paths and methods, and the headers of every response."""

from typing import Any

import pytest

SIGNED = "/api/v1/rooms/7/messages"


@pytest.mark.parametrize("path", ["/internal/revocations", "/internal", "/nothing", "/metrics", "/config"])
async def test_a_path_outside_the_table_is_a_404(client: Any, sign_in: Any, upstream: Any, path: str) -> None:
    reply = await client.get(path, headers=sign_in("ann", roles=["system"]))
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert reply.headers["content-type"] == "application/problem+json"
    assert upstream.calls == 0


async def test_a_method_outside_the_table_is_a_405_with_allow(client: Any, sign_in: Any) -> None:
    reply = await client.delete("/auth/login", headers=sign_in("ann"))
    assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "OPTIONS, POST"
    options = await client.options("/api/v1/profile")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PATCH, PUT")


async def test_every_response_has_a_request_id_and_the_security_headers(client: Any, sign_in: Any) -> None:
    for reply in (
        await client.get(SIGNED, headers=sign_in("ann")),
        await client.get(SIGNED),
        await client.get("/nothing"),
        await client.get("/livez"),
    ):
        assert reply.headers["x-request-id"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert "strict-transport-security" not in reply.headers
        assert len(reply.headers.get_list("x-request-id")) == 1
