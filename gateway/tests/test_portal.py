"""The gateway's own paths, CORS, and what an answer always carries."""

from typing import Any

import httpx2
import pytest

from gateway.portal.catalogue import catalogue
from shared.testing.waiting import eventually

SIGNED = "/api/v1/rooms/7/messages"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/"])
async def test_own_paths_are_public(client: Any, path: str) -> None:
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/problems/not_found"])
async def test_own_paths_take_head_and_options_too(client: Any, path: str) -> None:
    got, head, options = await client.get(path), await client.head(path), await client.options(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    refused = await client.post(path, json={})
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/health/detailed", "/metrics", "/config", "/docs", "/openapi.json"])
async def test_details_are_not_for_the_public_port(client: Any, path: str) -> None:
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


@pytest.mark.parametrize("away", ["feed_status", "jwks_status"])
async def test_it_is_not_ready_before_keys_and_revocations_are_loaded(
    open_edge: Any, upstream: Any, sign_in: Any, away: str
) -> None:
    """And nobody is told that a good token is wrong."""
    setattr(upstream, away, 503)
    edge = await open_edge(wait_until_ready=False)
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200
        reply = await client.get(SIGNED, headers=sign_in("ann"))
        assert (reply.status_code, reply.json()["code"]) == (503, "service_unavailable")
        assert int(reply.headers["retry-after"]) >= 1
        setattr(upstream, away, 200)
        await eventually(lambda: edge.gateway.checks.required and _is_ready(client))
        assert (await client.get(SIGNED, headers=sign_in("ann"))).status_code == 200


async def _is_ready(client: Any) -> bool:
    return bool((await client.get("/readyz")).status_code == 200)


async def test_a_draining_gateway_is_not_ready(edge: Any) -> None:
    edge.gateway.checks.draining = True
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        assert (await client.get("/readyz")).json()["status"] == "draining"
        assert (await client.get("/livez")).status_code == 200


async def test_every_answer_carries_an_id_and_the_security_headers(client: Any, sign_in: Any) -> None:
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


async def test_cors_is_for_the_origins_that_are_named(open_edge: Any, sign_in: Any) -> None:
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


async def test_the_log_has_a_line_per_request_and_no_ticket(
    open_edge: Any, sign_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    edge = await open_edge(log={"level": "INFO", "format": "json"})
    headers = sign_in("ann", tenant="acme") | {"X-Request-ID": "find-me"}
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        await client.get(SIGNED, headers=headers)
        await client.get("/api/v1/files/1/content?ticket=hush-hush")
        await client.get("/livez", headers={"X-Request-ID": "a-probe"})
    shown = ""

    def written() -> bool:
        nonlocal shown
        shown += capsys.readouterr().out
        return "/api/v1/files/{file_id}/content" in shown

    await eventually(written)
    assert "hush-hush" not in shown
    assert "a-probe" not in shown
    line = next(line for line in shown.splitlines() if "find-me" in line)
    for part in ('"route":"/api/v1/rooms"', '"status":200', '"user":"', '"tenant":"', '"trace_id":"', '"duration_ms":'):
        assert part in line
