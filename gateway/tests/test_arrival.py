"""Arrival: ambiguous paths are refused, and request id, trace and address are set."""

from typing import Any
from urllib.parse import unquote

import httpx2
import jwt
import pytest

from gateway.edge.arrival import is_ambiguous

SIGNED = "/api/v1/rooms/7/messages"


def headers_of(reply: httpx2.Response) -> dict[str, list[str]]:
    """The headers that the echoing service was sent."""
    found: dict[str, list[str]] = {}
    for name, value in reply.json()["headers"]:
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/rooms/..%2f..%2finternal/x",
        "/api/v1/rooms/%2e%2e/x",
        "//internal/x",
        "/auth/../internal/x",
        "/auth/%00",
    ],
)
async def test_an_ambiguous_path_is_a_400(raw: Any, upstream: Any, path: str) -> None:
    response = await raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert response.status == 400
    assert b'"code":"malformed_request"' in response.body
    assert upstream.calls == 0


@pytest.mark.parametrize(
    ("raw_path", "ambiguous"),
    [
        (b"/api/v1/rooms/a%20b", False),
        (b"/api/v1/rooms/caf%C3%A9", False),
        (b"/api/v1/rooms/100%25", False),
        (b"/a.b/c..d/.hidden", False),
        (b"/a%2Fb", True),
        (b"/a%2fb", True),
        (b"/a%5Cb", True),
        (b"/a\\b", True),
        (b"/a/%2e%2e/b", True),
        (b"/a/../b", True),
        (b"/a/..", True),
        (b"/a/./b", True),
        (b"/a/..;x/b", True),
        (b"//a", True),
        (b"/a//b", True),
        (b"/a%252Fb", True),
        (b"/a%00", True),
        (b"/a%0d%0ab", True),
        (b"/a%", True),
        (b"/a%zz", True),
        (b"/a%ff", True),
        (b"/a\xff", True),
    ],
)
def test_is_ambiguous(raw_path: bytes, ambiguous: bool) -> None:
    assert is_ambiguous(raw_path, unquote(raw_path.decode("latin-1"))) is ambiguous


async def test_request_id_and_trace_are_created_or_continued(client: Any, sign_in: Any) -> None:
    made = await client.get(SIGNED, headers=sign_in("ann"))
    assert headers_of(made)["x-request-id"] == [made.headers["x-request-id"]]
    assert len(headers_of(made)["traceparent"][0]) == 55
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    carried = await client.get(
        SIGNED, headers=sign_in("ann") | {"X-Request-ID": "mine.1", "traceparent": trace, "tracestate": "a=1"}
    )
    assert carried.headers["x-request-id"] == "mine.1"
    assert headers_of(carried)["traceparent"] == [trace]
    assert headers_of(carried)["tracestate"] == ["a=1"]
    lies = {"X-Request-ID": "no good", "traceparent": "00-xyz", "tracestate": "a=1"}
    refused = await client.get(SIGNED, headers=sign_in("ann") | lies)
    assert "tracestate" not in headers_of(refused)  # it belongs to no trace
    assert refused.headers["x-request-id"] != "no good"
    assert headers_of(refused)["traceparent"] != ["00-xyz"]


async def test_the_client_address_is_signed_for_the_service(open_edge: Any, people: Any) -> None:
    """A client can neither forge it nor send a signature that it saw."""
    edge = await open_edge()
    key = people.keys["gateway"].key.public_key()
    for address in ("127.0.0.1", "127.0.0.2"):
        transport = httpx2.AsyncHTTPTransport(local_address=address)
        forged = {
            "X-Forwarded-For": "10.1.1.1",
            "X-Client-Address": people.signer("gateway").sign_address("::9", "auth"),
        }
        async with httpx2.AsyncClient(base_url=edge.url, transport=transport) as client:
            seen = headers_of(await client.post("/auth/login", json={}, headers=forged))["x-client-address"]
            assert headers_of(await client.post("/auth/login", json={}, headers=forged))["x-client-address"] == seen
        claims = [jwt.decode(token, key, ["ES256"], audience="auth") for token in seen]
        assert [(claim["iss"], claim["address"], "sub" in claim) for claim in claims] == [("gateway", address, False)]
        assert claims[0]["exp"] - claims[0]["iat"] <= 60


async def test_only_a_route_that_asks_for_it_gets_the_client_address(client: Any, sign_in: Any, people: Any) -> None:
    forged = {"X-Client-Address": people.signer("gateway").sign_address("::9", "users")}
    assert "x-client-address" not in headers_of(await client.get("/api/v1/profile", headers=sign_in("ann") | forged))


async def test_the_client_address_is_believed_from_trusted_load_balancers_only(open_edge: Any) -> None:
    edge = await open_edge(limits={"scale": 1, "anonymous": 1}, proxy={"trusted": ("127.0.0.0/8", "10.0.0.0/8")})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        for forwarded in ("198.51.100.1, 10.0.0.9", "198.51.100.2"):
            assert (
                await client.post("/auth/login", json={}, headers={"X-Forwarded-For": forwarded})
            ).status_code == 200
        for repeated in (
            [("X-Forwarded-For", "203.0.113.7, 198.51.100.2")],
            [("X-Forwarded-For", "203.0.113.7, 198.51.100.2:4711")],
            [("X-Forwarded-For", "203.0.113.7, 198.51.100.2"), ("X-Forwarded-For", "10.0.0.9")],
        ):
            assert (await client.post("/auth/login", json={}, headers=repeated)).status_code == 429
