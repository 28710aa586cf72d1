"""The gateway's own public paths: health, and the explanation of problems."""

import re
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from gateway.portal.catalogue import catalogue
from shared.testing.fakes import FEED
from shared.testing.waiting import eventually

SIGNED = "/api/v1/rooms/7/messages"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/"])
async def test_own_paths_are_public(client: Any, path: str) -> None:
    assert (await client.get(path)).status_code == 200


async def test_a_refused_client_finds_the_authorization_server(client: Any) -> None:
    refused = await client.get(SIGNED)
    assert refused.status_code == 401
    named = re.search(r'resource_metadata="([^"]+)"', refused.headers["www-authenticate"])
    assert named is not None
    metadata = (await client.get(urlsplit(named[1]).path)).json()
    assert metadata["authorization_servers"] == [metadata["resource"]] == ["http://localhost:8000"]
    assert "jobs:read" in metadata["scopes_supported"]


@pytest.mark.parametrize("path", ["/livez", "/problems/not_found"])
async def test_own_paths_accept_head_and_options(client: Any, path: str) -> None:
    got, head, options = await client.get(path), await client.head(path), await client.options(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    refused = await client.post(path, json={})
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/health/detailed", "/metrics", "/config", "/internal/openapi.json"])
async def test_details_are_not_on_the_public_port(client: Any, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_a_problem_is_explained_as_json_and_as_a_page(client: Any) -> None:
    reply = await client.get(SIGNED)
    page = reply.json()["type"]
    assert page == "/problems/unauthenticated"
    explained = (await client.get(page)).json()
    assert explained.keys() == {"code", "status", "title", "cause", "remedy"}
    shown = await client.get(page, headers={"Accept": "text/html"})
    assert shown.headers["content-type"].startswith("text/html")
    assert explained["cause"] in shown.text
    assert "content-security-policy" in shown.headers
    missing = await client.get("/problems/no_such_thing")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_the_catalogue_has_the_gateway_s_and_the_shared_problems() -> None:
    known = catalogue()
    assert known["tenant_mismatch"].status == 403
    assert known["not_found"].remedy


@pytest.mark.parametrize("failing", [FEED, "GET /oauth2/jwks.json"])
async def test_it_is_not_ready_before_keys_and_revocations_are_loaded(
    open_edge: Any, auth: Any, sign_in: Any, failing: str
) -> None:
    """And a valid token is refused with 503, not 401."""
    auth.failing.add(failing)
    edge = await open_edge(wait_until_ready=False)
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200
        reply = await client.get(SIGNED, headers=sign_in("ann"))
        assert (reply.status_code, reply.json()["code"]) == (503, "service_unavailable")
        assert int(reply.headers["retry-after"]) >= 1
        auth.failing.clear()
        await eventually(lambda: _is_ready(client))
        assert (await client.get(SIGNED, headers=sign_in("ann"))).status_code == 200


async def _is_ready(client: Any) -> bool:
    return bool((await client.get("/readyz")).status_code == 200)


async def test_a_draining_gateway_is_not_ready(edge: Any) -> None:
    edge.gateway.checks.draining = True
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        assert (await client.get("/readyz")).json()["status"] == "draining"
        assert (await client.get("/livez")).status_code == 200
