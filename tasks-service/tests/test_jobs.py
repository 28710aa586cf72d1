"""The API without a worker: what is accepted, refused, found, cancelled and repeated."""

import asyncio
from typing import Any

import httpx2

from shared.settings import Environment
from shared.testing import People
from tasks_service.kinds.registry import available
from tasks_service.settings import TasksSettings

ROWS = {"operation": "sum", "field": "a", "rows": [{"a": 1}]}


async def test_a_job_is_accepted_and_read_back(jobs: Any, database: Any) -> None:
    reply = await jobs.client.post(
        "/api/v1/jobs", json={"kind": "data_processing", "input": ROWS}, headers={**jobs.headers, "X-Request-ID": "r-1"}
    )
    job = reply.json()
    assert (reply.status_code, reply.headers["location"]) == (202, f"/api/v1/jobs/{job['id']}")
    assert (job["status"], job["progress"], job["attempt"]) == ("pending", {"percent": 0, "message": None}, 0)
    assert (job["error"], job["started_at"], job["finished_at"]) == (None, None, None)
    assert await jobs.read(job) == job

    row = await database.fetchrow("SELECT request_id, traceparent FROM jobs")
    assert row["request_id"] == "r-1"
    assert row["traceparent"]
    event = await database.fetchrow("SELECT type, subject_version, traceparent FROM outbox")
    assert (event["type"], event["subject_version"]) == ("job.accepted.v1", 1)
    assert event["traceparent"][:35] == row["traceparent"][:35]


async def test_an_unchanged_job_is_not_sent_again(jobs: Any) -> None:
    job = await jobs.wait()
    first = await jobs.client.get(f"/api/v1/jobs/{job['id']}", headers=jobs.headers)
    again = {**jobs.headers, "If-None-Match": first.headers["etag"]}
    assert (await jobs.client.get(f"/api/v1/jobs/{job['id']}", headers=again)).status_code == 304
    await jobs.post(job, "cancel")
    assert (await jobs.client.get(f"/api/v1/jobs/{job['id']}", headers=again)).status_code == 200


BAD_INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"kind": "nothing", "input": {}}, "#/kind"),
    ({"kind": "wait"}, "#/input"),
    ({"kind": "wait", "input": {"seconds": 1}, "color": "red"}, "#/color"),
    ({"kind": "wait", "input": []}, "#/input"),
    ({"kind": "wait", "input": {"seconds": 0}}, "#/input/seconds"),
    ({"kind": "wait", "input": {"seconds": 61}}, "#/input/seconds"),
    ({"kind": "wait", "input": {"seconds": 1, "steps": 101}}, "#/input/steps"),
    ({"kind": "wait", "input": {"seconds": "1e999"}}, "#/input/seconds"),
    ({"kind": "wait", "input": {"seconds": 1, "more": 1}}, "#/input/more"),
    ({"kind": "wait", "input": {"seconds": 1}, "priority": 101}, "#/priority"),
    ({"kind": "wait", "input": {"seconds": 1}, "priority": True}, "#/priority"),
    ({"kind": "wait", "input": {"seconds": "1"}}, "#/input/seconds"),
    ({"kind": "wait", "input": {"seconds": 1, "steps": "2"}}, "#/input/steps"),
    ({"kind": "wait", "input": {"seconds": 1}, "run_at": "2026-01-01T00:00:00"}, "#/run_at"),
    ({"kind": "wait", "input": {"seconds": 1}, "run_at": 0}, "#/run_at"),
    ({"kind": "wait", "input": {"seconds": 1}, "run_at": "1767225600"}, "#/run_at"),
    ({"kind": "wait", "input": {"seconds": 1}, "run_at": "2999-01-01T00:00:00Z"}, "#/run_at"),
    ({"kind": "wait", "input": {"seconds": 1}, "run_at": "0001-01-01T00:00:00+14:00"}, "#/run_at"),
    ({"kind": "data_processing", "input": {}}, "#/input/operation"),
    ({"kind": "data_processing", "input": {"operation": "sum", "field": "a"}}, "#/input"),
    ({"kind": "data_processing", "input": {"operation": "sum", "rows": []}}, "#/input/field"),
    ({"kind": "data_processing", "input": {**ROWS, "parameters": {"by": "a"}}}, "#/input/parameters/by"),
    ({"kind": "data_processing", "input": {**ROWS, "operation": "group", "parameters": {}}}, "#/input/parameters/by"),
    ({"kind": "data_processing", "input": {**ROWS, "operation": "filter"}}, "#/input/parameters/op"),
    (
        {"kind": "data_processing", "input": {**ROWS, "operation": "sort", "parameters": {"order": "up"}}},
        "#/input/parameters/order",
    ),
    ({"kind": "data_processing", "input": {**ROWS, "rows": [1]}}, "#/input/rows/0"),
    ({"kind": "data_processing", "input": {**ROWS, "rows": [{"a": "\0"}]}}, "#/input/rows/0/a"),
    ({"kind": "file_processing", "input": {"file_id": "x", "operation": "hash"}}, "#/input/file_id"),
    ({"kind": "email", "input": {"to": "ann", "subject": "s", "text": "t"}}, "#/input/to"),
    ({"kind": "email", "input": {"to": "a@b.co", "subject": "s\r\nBcc: c@d.co", "text": ""}}, "#/input/subject"),
    ({"kind": "email", "input": {"to": "a@b.co\r\nBcc: c@d.co", "subject": "s", "text": ""}}, "#/input/to"),
    ({"kind": "email", "input": {"to": "a@b.co, c@d.co", "subject": "s", "text": ""}}, "#/input/to"),
]


INPUT_RULES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"operation": "sum", "rows": []}, "#/input/field", "missing", "This field is required."),
    ({"operation": "count"}, "#/input", "rows_or_file", "Must have either `rows` or `file_id`."),
    ({**ROWS, "parameters": {"by": 1}}, "#/input/parameters/by", "extra_forbidden", "There is no field of this name."),
    (
        {**ROWS, "operation": "sort", "parameters": {"order": "up"}},
        "#/input/parameters/order", "literal_error", "Must be one of these: 'asc' or 'desc'.",
    ),
]  # fmt: skip


async def test_a_kind_s_input_has_the_sentences_of_field_errors(jobs: Any) -> None:
    for given, pointer, code, detail in INPUT_RULES:
        body = {"kind": "data_processing", "input": given}
        reply = await jobs.client.post("/api/v1/jobs", json=body, headers=jobs.headers)
        assert reply.json()["errors"] == [{"detail": detail, "code": code, "pointer": pointer}], given


async def test_bad_input_is_refused_and_the_field_named(jobs: Any) -> None:
    for body, pointer in BAD_INPUTS:
        reply = await jobs.client.post("/api/v1/jobs", json=body, headers=jobs.headers)
        assert (reply.status_code, reply.headers["content-type"]) == (422, "application/problem+json"), body
        assert pointer in [error["pointer"] for error in reply.json()["errors"]], (body, reply.text)


BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"{", 400, "malformed_request"),
    (b'{"kind": "wait", "input": {"seconds": NaN}}', 400, "malformed_request"),
    (b'{"kind": "\xff"}', 400, "malformed_request"),
    (b'{"kind": "wait", "input": {"seconds": "\\ud800"}}', 400, "malformed_request"),
    (b'{"kind": "wait", "input": ' + b'{"a":' * 100 + b"1" + b"}" * 101, 422, "invalid_input"),
    (b'{"kind": "wait", "input": {"a": "' + b"x" * (8 * 1024 * 1024) + b'"}}', 413, "body_too_large"),
]


async def test_bad_bodies_are_refused(jobs: Any) -> None:
    headers = {**jobs.headers, "Content-Type": "application/json"}
    for content, status, code in BAD_BODIES:
        reply = await jobs.client.post("/api/v1/jobs", content=content, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (status, code), content[:80]


async def test_five_megabytes_of_rows_are_accepted(jobs: Any) -> None:
    rows = [{"a": number, "text": "x" * 1000} for number in range(5000)]
    await jobs.submit("data_processing", {"operation": "sum", "field": "a", "rows": rows})


async def test_scopes_decide_before_anything_is_looked_up(client: httpx2.AsyncClient, as_user: People) -> None:
    body = {"kind": "email", "input": {"to": "ann@example.com", "subject": "s", "text": "t"}}
    reply = await client.post("/api/v1/jobs", json=body, headers=as_user("bob"))
    assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")
    assert 'scope="email:send"' in reply.headers["www-authenticate"]
    with_file = {"kind": "data_processing", "input": {"operation": "count", "file_id": str(as_user.id("x"))}}
    narrow = as_user("bob", scopes=["jobs:write"])
    assert (await client.post("/api/v1/jobs", json=with_file, headers=narrow)).status_code == 403
    assert (await client.get("/api/v1/jobs", headers=narrow)).status_code == 403
    assert (await client.get("/api/v1/jobs")).status_code == 401
    homeless = await client.post(
        "/api/v1/jobs", json={"kind": "wait", "input": {"seconds": 1}}, headers=as_user("bob", tenant=None)
    )
    assert (homeless.status_code, homeless.json()["code"]) == (403, "no_tenant")


async def test_others_see_no_job_of_mine_but_the_tenants_admin_does(
    jobs: Any, jobs_of: Any, client: httpx2.AsyncClient, as_user: People
) -> None:
    mine = jobs_of(lambda: as_user("bob"))
    job = await mine.wait()
    strangers = {
        "neighbour": as_user("cy"),
        "admin of another tenant": as_user("eve", tenant="globex", roles=["admin"]),
    }
    for who, headers in strangers.items():
        for method, path in (
            ("GET", ""),
            ("GET", "/result"),
            ("GET", "/events"),
            ("POST", "/cancel"),
            ("POST", "/retry"),
        ):
            reply = await client.request(method, f"/api/v1/jobs/{job['id']}{path}", headers=headers)
            assert (reply.status_code, reply.json()["code"]) == (404, "job_not_found"), (who, path)
        assert (await client.get("/api/v1/jobs", headers=headers)).json()["items"] == []
    assert (await jobs.read(job))["user_id"] == str(as_user.id("bob"))
    assert [one["id"] for one in (await client.get("/api/v1/jobs", headers=jobs.headers)).json()["items"]] == [
        job["id"]
    ]


async def test_the_list_filters_sorts_and_pages(jobs: Any) -> None:
    made = [await jobs.wait(priority=number) for number in range(4)]
    rows = await jobs.submit("data_processing", ROWS)
    await jobs.post(made[0], "cancel")

    async def ids(query: str) -> list[str]:
        reply = await jobs.client.get(f"/api/v1/jobs?{query}", headers=jobs.headers)
        assert reply.status_code == 200, reply.text
        return [one["id"] for one in reply.json()["items"]]

    assert await ids("") == [one["id"] for one in (rows, *reversed(made))]
    assert await ids("kind=data_processing") == [rows["id"]]
    assert await ids("status=cancelled&status=failed") == [made[0]["id"]]
    assert await ids("kind=wait&sort=-priority&limit=2") == [made[3]["id"], made[2]["id"]]
    first = (await jobs.client.get("/api/v1/jobs?limit=3", headers=jobs.headers)).json()
    assert len(await ids(f"limit=3&cursor={first['next_cursor']}")) == 2
    for wrong in ("status=new", "limit=201", "nothing=1", "sort=input"):
        assert (await jobs.client.get(f"/api/v1/jobs?{wrong}", headers=jobs.headers)).status_code == 422


async def test_a_waiting_job_is_cancelled_at_once_and_once(jobs: Any, database: Any) -> None:
    job = await jobs.wait()
    reply = await jobs.post(job, "cancel")
    assert (reply.status_code, reply.json()["status"]) == (202, "cancelled")
    assert reply.json()["finished_at"]
    again = await jobs.post(job, "cancel")
    assert (again.status_code, again.json()["code"]) == (409, "job_ended")
    found = await jobs.client.get(f"/api/v1/jobs/{job['id']}/result", headers=jobs.headers)
    assert (found.status_code, found.json()["code"]) == (409, "no_result_yet")
    types = await database.fetch("SELECT type, subject_version FROM outbox ORDER BY created_at, subject_version")
    assert [tuple(row) for row in types] == [("job.accepted.v1", 1), ("job.cancelled.v1", 2)]


async def test_asking_a_running_job_to_stop_twice_is_asking_once(jobs: Any, database: Any) -> None:
    job = await jobs.wait()
    await database.execute("UPDATE jobs SET status = 'running', attempt = 1, lease_until = now() + interval '1 hour'")
    first, again = await jobs.post(job, "cancel"), await jobs.post(job, "cancel")
    assert (first.status_code, first.json()["cancel_requested"], first.json()["status"]) == (202, True, "running")
    assert (again.status_code, again.json()) == (202, first.json())
    assert await database.fetchval("SELECT count(*) FROM job_events") == 1


async def test_a_cancelled_job_can_be_taken_up_again_and_a_waiting_one_cannot(jobs: Any) -> None:
    job = await jobs.wait()
    refused = await jobs.post(job, "retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_retryable")
    await jobs.post(job, "cancel")
    reply = await jobs.post(job, "retry")
    assert (reply.status_code, reply.json()["status"], reply.json()["finished_at"]) == (202, "pending", None)


async def test_a_repeated_submit_is_one_job(jobs: Any, database: Any) -> None:
    body: dict[str, Any] = {"kind": "data_processing", "input": ROWS}
    headers = {**jobs.headers, "Idempotency-Key": "once"}
    first = await jobs.client.post("/api/v1/jobs", json=body, headers=headers)
    again = await jobs.client.post("/api/v1/jobs", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert (again.json(), again.headers["location"]) == (first.json(), first.headers["location"])
    other = await jobs.client.post("/api/v1/jobs", json={**body, "priority": 1}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert await database.fetchval("SELECT count(*) FROM jobs") == 1


async def test_the_same_submit_twenty_times_at_once_is_one_job(jobs: Any, database: Any) -> None:
    headers = {**jobs.headers, "Idempotency-Key": "together"}
    body = {"kind": "data_processing", "input": ROWS}
    replies = await asyncio.gather(*(jobs.client.post("/api/v1/jobs", json=body, headers=headers) for _ in range(20)))
    assert {reply.status_code for reply in replies} <= {202, 409}
    accepted = {reply.json()["id"] for reply in replies if reply.status_code == 202}
    assert len(accepted) == 1
    assert await database.fetchval("SELECT count(*) FROM jobs") == 1


async def test_waiting_is_for_developers(settings: TasksSettings) -> None:
    assert "wait" not in available(settings.model_copy(update={"environment": Environment.PRODUCTION}))
    assert "wait" in available(settings)


async def test_a_tokens_word_about_a_jobs_owner_is_for_developers(settings: TasksSettings) -> None:
    loose = settings.model_copy(update={"worker": settings.worker.model_copy(update={"owners": "token"})})
    assert "WORKER__OWNERS=token is for development" in loose.production_errors()
    assert "WORKER__OWNERS=token is for development" not in settings.production_errors()


async def test_the_kinds_tell_what_they_take(jobs: Any) -> None:
    items = (await jobs.client.get("/api/v1/job-kinds", headers=jobs.headers)).json()["items"]
    assert {one["name"] for one in items} == {"data_processing", "file_processing", "email", "wait"}
    mail = next(one for one in items if one["name"] == "email")
    assert mail["scopes"] == ["email:send"]
    assert mail["input"]["required"] == ["to", "subject", "text"]
