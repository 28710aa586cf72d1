"""What a browser gets: the front page, Swagger UI and ReDoc; everything from this origin, and no inline script."""

import re
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGES = ("/", "/docs", "/redoc", "/problems/not_found")


def policy(reply: httpx2.Response) -> dict[str, list[str]]:
    """The content security policy, by directive."""
    parts = [part.split() for part in reply.headers["content-security-policy"].split(";")]
    return {part[0]: part[1:] for part in parts}


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_from_its_own_origin_and_runs_no_inline_script(client: Any, path: str) -> None:
    reply = await client.get(path, headers=HTML)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    allowed = policy(reply)
    assert allowed["default-src"] == ["'none'"]
    assert allowed["frame-ancestors"] == ["'none'"]
    assert set(allowed.get("script-src", [])) <= {"'self'"}
    assert set(allowed.get("connect-src", [])) <= {"'self'"}
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert (reply.headers["x-content-type-options"], reply.headers["x-frame-options"]) == ("nosniff", "DENY")
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", reply.text)
    for source in re.findall(r'(?:src|href)="([^"]+)"', reply.text):
        assert source.startswith("/")
        assert (await client.get(urljoin(path, source))).status_code == 200, source


async def test_what_a_script_imports_is_served_and_can_be_cached(client: Any) -> None:
    path = "/assets/redoc/redoc.standalone.js"
    assert f'from "{path}"' in (await client.get("/assets/redoc.js")).text
    reply = await client.get(path)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    again = await client.get(path, headers={"If-None-Match": reply.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/assets/redoc/redoc.standalone.js", "/assets/portal.css", "/openapi.json"])
async def test_a_file_is_sent_in_the_form_that_the_client_accepts(client: Any, path: str) -> None:
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    gzipped = await client.get(path, headers={"Accept-Encoding": "br, gzip;q=0.8"})
    assert "content-encoding" not in plain.headers
    assert gzipped.headers["content-encoding"] == "gzip"
    assert gzipped.content == plain.content
    assert int(plain.headers["content-length"]) == len(plain.content) > 2 * int(gzipped.headers["content-length"])
    assert plain.headers["etag"] != gzipped.headers["etag"]
    for reply, accepted in ((plain, "gzip;q=0, identity"), (gzipped, "*")):
        assert reply.headers["vary"] == "Accept-Encoding"
        named = {name: reply.headers[name] for name in ("etag", "vary", "content-length", "content-type")}
        head = await client.head(path, headers={"Accept-Encoding": accepted})
        assert (head.status_code, head.content) == (200, b"")
        assert {name: head.headers[name] for name in named} == named
        has = {"Accept-Encoding": accepted, "If-None-Match": named["etag"]}
        again = await client.get(path, headers=has)
        assert (again.status_code, again.headers["etag"]) == (304, named["etag"])
        assert again.headers["vary"] == "Accept-Encoding"
    other = {"Accept-Encoding": "gzip", "If-None-Match": plain.headers["etag"]}
    assert (await client.get(path, headers=other)).status_code == 200


async def test_a_client_that_names_no_encoding_gets_plain_bytes(client: Any) -> None:
    del client.headers["accept-encoding"]
    assert "content-encoding" not in (await client.get("/assets/portal.css")).headers


@pytest.mark.parametrize("path", ["/assets/none.js", "/assets/", "/assets/..%2fapp.py", "/docs/none", "/documents"])
async def test_other_files_are_not_there(client: Any, path: str) -> None:
    reply = await client.get(path)
    assert reply.status_code in (400, 404)
    assert reply.headers["content-type"] == "application/problem+json"


async def test_the_front_is_json_for_a_program(client: Any) -> None:
    reply = await client.get("/")
    assert reply.json() == {
        "name": "Flotilla",
        "version": "1",
        "docs": "/docs",
        "redoc": "/redoc",
        "openapi": "/openapi.json",
        "health": "/health",
    }
    assert reply.headers["vary"] == "Accept"
    for path in ("docs", "redoc", "openapi", "health"):
        assert (await client.get(reply.json()[path])).status_code == 200


async def test_the_front_page_has_the_public_url(client: Any) -> None:
    shown = (await client.get("/", headers=HTML)).text
    assert "curl -s http://localhost:8000/auth/login" in shown
    assert '-H "Authorization: Bearer $TOKEN"' in shown


async def test_without_docs_the_viewers_are_gone_and_the_rest_stays(open_edge: Any) -> None:
    edge = await open_edge(docs=False)
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        for path in ("/docs", "/redoc"):
            assert (await client.get(path)).status_code == 404
        front = (await client.get("/")).json()
        assert (front["docs"], front["redoc"], front["openapi"]) == (None, None, "/openapi.json")
        shown = (await client.get("/", headers=HTML)).text
        assert "/docs" not in shown
        assert (await client.get("/openapi.json")).status_code == 200
