"""What every operation of every service does with what comes in: over a real socket and a real PostgreSQL."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from shared.testing import eventually
from shared.testing.databases import Template, execute
from shared.testing.people import People

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        (b'{"title": "a", "more": 1}', 422, "extra_forbidden", "#/more"),
        (b'{"title": 1}', 422, "string_type", "#/title"),
        (b"{}", 422, "missing", "#/title"),
        (b"[]", 422, "model_attributes_type", "#"),
        (b'{"title": "a\\u0000b"}', 422, "nul_character", "#/title"),
        (b'{"title": "a", "extra": {"b": ["\\ud800"]}}', 400, None, None),
        (b'{"title": "a", "extra": NaN}', 400, None, None),
        (b'{"title": "a", "extra": Infinity}', 400, None, None),
        (b'{"title": "a", "extra": 18446744073709551615}', 422, "integer_out_of_range", "#/extra"),
        (b'{"title": "a", "extra": {"x/y": [9223372036854775808]}}', 422, "integer_out_of_range", "#/extra/x~1y/0"),
        (b'{"title": "\xff"}', 400, None, None),
        (b'{"title": ', 400, None, None),
        (b'{"title": "a", "extra": ' + b"[" * 70 + b"]" * 70 + b"}", 422, "too_deep", "#"),
        (b"[" * 500_000 + b"]" * 500_000, 400, None, None),
    ],
)
async def test_bad_json_gets_its_problem_and_stores_nothing(
    client: httpx2.AsyncClient, as_user: People, body: bytes, status: int, code: str | None, pointer: str | None
) -> None:
    reply = await client.post("/pages", content=body, headers=as_user("ann") | JSON)

    problem = reply.json()
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")
    assert problem["code"] == {400: "malformed_request", 422: "invalid_input"}[status]
    assert problem["request_id"] == reply.headers["x-request-id"]
    if code is not None:
        assert [(error["code"], error["pointer"]) for error in problem["errors"]] == [(code, pointer)]
    assert (await client.get("/pages", headers=as_user("ann"))).json()["items"] == []


async def test_a_body_over_the_limit_is_refused(client: httpx2.AsyncClient, as_user: People) -> None:
    body = json.dumps({"title": "a" * (1024 * 1024)}).encode()
    reply = await client.post("/pages", content=body, headers=as_user("ann") | JSON)
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")

    async def unannounced() -> AsyncIterator[bytes]:
        yield body

    chunked = await client.post("/pages", content=unannounced(), headers=as_user("ann") | JSON)
    assert (chunked.status_code, chunked.json()["code"]) == (413, "body_too_large")
    assert (await client.post("/long-pages", content=body, headers=JSON)).json() == 1024 * 1024
    twice = await client.post("/long-pages", content=body + b" " * 1024 * 1024, headers=JSON)
    assert (twice.status_code, twice.json()["code"]) == (413, "body_too_large")


async def test_a_body_cut_off_stores_nothing_and_is_logged(
    client: httpx2.AsyncClient, base_url: str, as_user: People, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = re.fullmatch(r"http://(.*):(\d+)", base_url).groups()  # type: ignore[union-attr]  # base_url is one
    _, writer = await asyncio.open_connection(host, int(port))
    head = {**as_user("ann"), **JSON, "Content-Length": "100", "Host": "x"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    writer.write(f'POST /pages HTTP/1.1\r\n{lines}\r\n{{"title": "half'.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    def logged() -> bool:
        return any("'cut_off': True" in record.getMessage() for record in caplog.records)

    await eventually(logged, within_s=5, saying="the cut is logged")
    assert (await client.get("/pages", headers=as_user("ann"))).json()["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("PATCH", "/pages", 405, "method_not_allowed"),
        ("GET", "/failures", 500, "internal_error"),
        ("GET", "/sql", 422, "invalid_input"),
        ("GET", "/pages/not-an-id", 422, "invalid_input"),
        ("GET", "/pages?limit=201", 422, "invalid_input"),
        ("GET", "/pages?colour=red", 422, "invalid_input"),
        ("GET", "/pages?cursor=bm9uc2Vuc2U", 422, "invalid_input"),
        ("GET", "/pages?sort=secret", 422, "invalid_input"),
    ],
)
async def test_every_failure_is_a_problem(
    client: httpx2.AsyncClient, as_user: People, method: str, path: str, status: int, code: str
) -> None:
    reply = await client.request(method, path, headers=as_user("ann"))
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert "secret cause" not in reply.text


async def test_nobody_is_401_and_a_missing_scope_403_before_any_look_up(
    client: httpx2.AsyncClient, as_user: People
) -> None:
    nobody = await client.post("/pages", json={"title": "a"})
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")
    assert nobody.headers["www-authenticate"].startswith("Bearer")

    unscoped = await client.get("/pages/018f0000-0000-7000-8000-000000000000", headers=as_user("ann", scopes=[]))
    assert (unscoped.status_code, unscoped.json()["code"]) == (403, "insufficient_scope")
    assert 'scope="posts:read"' in unscoped.headers["www-authenticate"]


async def test_another_tenants_object_is_404(client: httpx2.AsyncClient, as_user: People) -> None:
    made = (await client.post("/pages", json={"title": "a"}, headers=as_user("ann", tenant="acme"))).json()
    assert (await client.get(f"/pages/{made['id']}", headers=as_user("ann", tenant="acme"))).status_code == 200
    assert (await client.get(f"/pages/{made['id']}", headers=as_user("eve", tenant="evil"))).status_code == 404


async def test_the_row_is_there_when_the_answer_is(client: httpx2.AsyncClient, as_user: People) -> None:
    for number in range(20):
        made = (await client.post("/pages", json={"title": f"t{number}"}, headers=as_user("ann"))).json()
        assert (await client.get(f"/pages/{made['id']}", headers=as_user("ann"))).status_code == 200


async def test_a_conflict_at_commit_is_no_success(client: httpx2.AsyncClient, as_user: People) -> None:
    replies = [await client.post("/pages", json={"title": "same"}, headers=as_user("ann")) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [
        201,
        500,
    ]  # the probe does not handle it: a real slice answers 409


@pytest.mark.parametrize(("kept", "rows"), [("true", 1), ("false", 0)])
async def test_a_refusal_keeps_its_writes_where_it_says_so(
    client: httpx2.AsyncClient, as_user: People, kept: str, rows: int
) -> None:
    reply = await client.post(f"/refusals/{kept}", json={"title": "trace"}, headers=as_user("ann"))
    assert reply.status_code == 409
    assert len((await client.get("/pages", headers=as_user("ann"))).json()["items"]) == rows


async def test_a_repeat_gets_the_first_answer(client: httpx2.AsyncClient, as_user: People) -> None:
    headers = as_user("ann") | {"Idempotency-Key": "k1"}
    first = await client.post("/pages", json={"title": "a"}, headers=headers)
    again = await client.post("/pages", json={"title": "a"}, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert len((await client.get("/pages", headers=as_user("ann"))).json()["items"]) == 1

    other = await client.post("/pages", json={"title": "b"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    bo = await client.post("/pages", json={"title": "c"}, headers=as_user("bo") | {"Idempotency-Key": "k1"})
    assert bo.status_code == 201


async def test_two_keys_are_ambiguous(client: httpx2.AsyncClient, as_user: People) -> None:
    keys = [*as_user("ann").items(), ("Idempotency-Key", "k1"), ("Idempotency-Key", "k2")]
    reply = await client.post("/pages", json={"title": "a"}, headers=keys)
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed_request")
    assert (await client.get("/pages", headers=as_user("ann"))).json()["items"] == []


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip"])
async def test_an_encoded_body_is_refused(client: httpx2.AsyncClient, as_user: People, coding: str) -> None:
    headers = as_user("ann") | JSON | {"Content-Encoding": coding}
    reply = await client.post("/pages", content=b'{"title": "a"}', headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type")
    plain = await client.post("/pages", content=b'{"title": "a"}', headers=headers | {"Content-Encoding": "identity"})
    assert plain.status_code == 201


async def test_header_bytes_outside_ascii_are_harmless(client: httpx2.AsyncClient, as_user: People) -> None:
    """RFC 9110, section 5.5: opaque bytes."""
    for name in ("User-Agent", "Referer", "Cookie", "X-Request-ID"):
        headers = [
            *((key.encode(), value.encode()) for key, value in as_user("ann").items()),
            (name.encode(), b"a=\xe9"),
        ]
        assert (await client.get("/pages", headers=headers)).status_code == 200, name


async def test_many_at_once_with_one_key_make_one(client: httpx2.AsyncClient, as_user: People) -> None:
    headers = as_user("ann") | {"Idempotency-Key": "k2"}
    replies = await asyncio.gather(*(client.post("/pages", json={"title": "a"}, headers=headers) for _ in range(10)))
    assert {reply.status_code for reply in replies} <= {201, 409}
    assert len({reply.json()["id"] for reply in replies if reply.status_code == 201}) == 1
    assert len((await client.get("/pages", headers=as_user("ann"))).json()["items"]) == 1


@pytest.mark.parametrize("sort", ["-created_at", "title", "-title,created_at"])
async def test_a_list_is_walked_whole_while_rows_come(client: httpx2.AsyncClient, as_user: People, sort: str) -> None:
    ann = as_user("ann")
    for number in range(7):
        await client.post("/pages", json={"title": f"t{number}"}, headers=ann)

    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3, "sort": sort}
    while True:
        page = (await client.get("/pages", params=query, headers=ann)).json()
        seen += [item["title"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert sorted(seen) == [f"t{number}" for number in range(7)]
    assert seen == sorted(seen, reverse=sort.startswith("-"))


async def test_a_list_by_page_says_where_it_is(client: httpx2.AsyncClient, as_user: People) -> None:
    ann = as_user("ann")
    for number in range(5):
        await client.post("/pages", json={"title": f"t{number}"}, headers=ann)

    middle = (await client.get("/numbered-pages?page=2", headers=ann)).json()
    assert [item["title"] for item in middle["items"]] == ["t2", "t3"]
    place = {"page": 2, "size": 2, "total": 5, "pages": 3, "has_next": True, "has_prev": True}
    place |= {"total_is_estimate": False}
    assert middle["pagination"] == place
    beyond = (await client.get("/numbered-pages?page=9", headers=ann)).json()
    assert (beyond["items"], beyond["pagination"]["has_next"]) == ([], False)


async def test_a_stream_may_still_answer_204(client: httpx2.AsyncClient, as_user: People) -> None:
    whole = await client.get("/ticks", headers=as_user("ann"))
    assert whole.headers["content-type"].startswith("text/event-stream")
    assert re.findall(r"^id: (\d)$", whole.text, re.MULTILINE) == ["1", "2", "3"]
    assert (await client.get("/ticks?last=3", headers=as_user("ann"))).status_code == 204


async def test_request_ids(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/livez", headers={"X-Request-ID": "mine-1"})).headers["x-request-id"] == "mine-1"
    made = (await client.get("/livez", headers={"X-Request-ID": "two words"})).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f-]{36}", made)


async def test_health_metrics_and_config(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/livez")).json() == {"status": "ok"}
    ready = (await client.get("/readyz")).json()
    assert (ready["status"], list(ready["checks"])) == ("ok", ["database"])
    detailed = (await client.get("/health/detailed")).json()
    assert {"database", "cache", "broker"} <= set(detailed["checks"])
    assert "flotilla_http_request_duration_seconds" in (await client.get("/metrics")).text
    config = (await client.get("/config")).json()
    assert "for-tests-only" not in json.dumps(config)
    assert config["database_url"] == "**********"


async def test_a_lost_database_is_503_and_comes_back(
    client: httpx2.AsyncClient, as_user: People, template: Template, database_name: str
) -> None:
    await client.post("/pages", json={"title": "a"}, headers=as_user("ann"))
    ends = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_name}'"  # noqa: S608 - our own name
    await execute(template.admin_url, f'ALTER DATABASE "{database_name}" ALLOW_CONNECTIONS false', ends)

    away = await client.get("/pages", headers=as_user("ann"))
    assert (away.status_code, away.json()["code"], away.headers["retry-after"]) == (503, "database_unavailable", "1")
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/livez")).status_code == 200

    await execute(template.admin_url, f'ALTER DATABASE "{database_name}" ALLOW_CONNECTIONS true')
    assert len((await client.get("/pages", headers=as_user("ann"))).json()["items"]) == 1
