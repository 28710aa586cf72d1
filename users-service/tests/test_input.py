"""Bad input at every entry that takes JSON: its documented problem, never a 5xx, and nothing of it in the answer."""

import httpx2
import pytest

from shared.testing import People

pytestmark = pytest.mark.usefixtures("acme")

DEEP = b'{"full_name": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"

BODIES: list[tuple[bytes, int, str]] = [
    (b"", 422, "invalid_input"),
    (b"{", 400, "malformed_request"),
    (b"null", 422, "invalid_input"),
    (b"[]", 422, "invalid_input"),
    (b'"text"', 422, "invalid_input"),
    (b'{"full_name": "\xff\xfe"}', 400, "malformed_request"),
    (b'{"full_name": "a\\u0000b"}', 422, "invalid_input"),
    (b'{"full_name": "\\ud800"}', 400, "malformed_request"),
    (b'{"full_name": NaN}', 400, "malformed_request"),
    (b'{"full_name": Infinity}', 400, "malformed_request"),
    (b'{"full_name": 1e999}', 400, "malformed_request"),
    (b'{"full_name": 123456789012345678901234567890}', 422, "invalid_input"),
    (b'{"full_name": {"a": []}}', 422, "invalid_input"),
    (b'{"full_name": "A", "s3cret\\u0000": 1}', 422, "invalid_input"),
    (b'{"full_name": "A", "is_admin": true}', 422, "invalid_input"),
    (b'{"full_name": ' + b"[" * 80 + b"]" * 80 + b"}", 422, "invalid_input"),
    (DEEP[:1_000_000], 400, "malformed_request"),
    (DEEP[:2_000_000] + b" " * 200_000, 413, "body_too_large"),
]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_bad_body_gets_its_problem(client: httpx2.AsyncClient, as_user: People, method: str) -> None:
    headers = as_user("ann", roles=["admin"]) | {"Content-Type": "application/json"}
    for body, status, code in BODIES:
        reply = await client.request(method, "/api/v1/profile", content=body, headers=headers)
        assert reply.headers["content-type"] == "application/problem+json", (body[:60], reply.text)
        assert (reply.status_code, reply.json()["code"]) == (status, code), (body[:60], reply.text)
        assert "s3cret" not in reply.text or "pointer" in reply.text


async def test_a_body_of_another_kind_is_415(client: httpx2.AsyncClient, as_user: People) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json-patch+json", "nonsense"):
        reply = await client.put(
            "/api/v1/profile",
            content=b'{"full_name": "A"}',
            headers=as_user("ann") | {"Content-Type": content_type},
        )
        assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type"), content_type


async def test_bad_ids_and_queries_are_named(client: httpx2.AsyncClient, as_user: People) -> None:
    ann = as_user("ann", roles=["admin"])
    for path, parameter in [
        ("/api/v1/users/7", "user_id"),
        ("/api/v1/tenants/acme", "tenant_id"),
        ("/api/v1/files/%00", "file_id"),
        ("/api/v1/files/%ED%A0%80", "file_id"),
        ("/api/v1/users?username=" + "x" * 65, "username"),
        ("/api/v1/files?owner_id=me", "owner_id"),
        ("/api/v1/files?limit=1e3", "limit"),
        ("/api/v1/files?cursor=" + "x" * 2000, "cursor"),
        ("/api/v1/users?who=ann", "who"),
        ("/api/v1/users?username=%00", "username"),
        ("/api/v1/files?category=x&category=%00", "category"),
        ("/api/v1/users?created_after=1700000000", "created_after"),
        ("/api/v1/users?created_after=2026-01-31", "created_after"),
        ("/api/v1/users?created_after=2026-01-31T00:00:00", "created_after"),
        ("/api/v1/users?created_before=2026-01-31T00:00:00+02:00", "created_before"),  # a + is a blank in a query
        ("/api/v1/users?created_before=2026-02-30T00:00:00Z", "created_before"),
        ("/api/v1/users?created_before=0001-01-01T00:00:00%2B14:00", "created_before"),
    ]:
        reply = await client.get(path, headers=ann)
        assert (reply.status_code, [error["parameter"] for error in reply.json()["errors"]]) == (422, [parameter]), path
    for query in ("username=%ED%A0%80", "username=%FF", "created_after=2026-01-31T00:00:00.5%2B02:00"):
        assert (await client.get(f"/api/v1/users?{query}", headers=ann)).status_code == 200


async def test_a_refusal_repeats_nothing_of_what_was_sent(client: httpx2.AsyncClient, as_user: People) -> None:
    ann = as_user("ann", roles=["admin"])
    reply = await client.get("/api/v1/users?created_after=~&limit=~&sort=~&cursor=~", headers=ann)
    assert (reply.status_code, "~" in reply.text) == (422, False)
    for body in ({"full_name": "A", "birth_date": "~"}, {"full_name": "A", "phone": "~"}, {"full_name": ["~"]}):
        assert "~" not in (await client.put("/api/v1/profile", json=body, headers=ann)).text
    assert "~" not in (await client.get("/api/v1/files?owner_id=~", headers=ann)).text


async def test_a_method_that_a_path_does_not_take_names_those_it_does(client: httpx2.AsyncClient) -> None:
    reply = await client.post("/api/v1/profile")
    assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "GET, HEAD, PATCH, PUT"
