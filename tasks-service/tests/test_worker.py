"""A worker and the API together: what jobs come to, in which order they run, and for whom they do not."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import orjson
import pytest

from shared.events import open_bus
from shared.testing import People, eventually

CSV = "region,amount\nnorth,10\nsouth,32.5\nnorth,\n"


async def test_rows_are_calculated_and_the_fact_is_published(worker: str, jobs: Any, database: Any) -> None:
    rows = [{"a": 1}, {"a": 2.5}, {"a": None}]
    job = await jobs.ended(await jobs.submit("data_processing", {"operation": "sum", "field": "a", "rows": rows}))
    assert (job["status"], job["progress"]["percent"], job["attempt"], job["error"]) == ("completed", 100, 1, None)
    assert job["started_at"] <= job["finished_at"]
    result = await jobs.result(job)
    assert result == {"operation": "sum", "field": "a", "rows_read": 3, "missing": 1, "result": 3.5}
    facts = await database.fetch("SELECT type, subject_version, traceparent, data FROM outbox ORDER BY subject_version")
    assert [(row["type"], row["subject_version"]) for row in facts] == [("job.accepted.v1", 1), ("job.completed.v1", 2)]
    assert facts[0]["traceparent"].split("-")[1] == facts[1]["traceparent"].split("-")[1]  # one trace
    assert await database.fetchval("SELECT lease_until IS NULL AND worker IS NULL FROM jobs")


async def test_a_csv_file_is_read_as_its_owner(worker: str, jobs: Any, users: Any, as_user: People) -> None:
    file_id = users.add_file(as_user.id("ann"), "sales.csv", CSV.encode())
    total = await jobs.submit("data_processing", {"operation": "sum", "field": "amount", "file_id": file_id})
    profile = await jobs.submit("file_processing", {"operation": "csv_profile", "file_id": file_id})
    assert (await jobs.ended(total))["status"] == "completed"
    assert (await jobs.result(total))["result"] == 42.5
    assert (await jobs.ended(profile))["status"] == "completed"
    found = await jobs.result(profile)
    assert (found["file_id"], found["operation"], found["result"]["rows"]) == (file_id, "csv_profile", 3)
    amount = {"name": "amount", "type": "number", "missing": 1, "distinct": 2, "min": 10, "max": 32.5, "mean": 21.25}
    assert found["result"]["columns"][1] == amount
    person = users.calls[-1].person
    assert (person.user_id, person.actor, person.tenant_slug) == (as_user.id("ann"), "tasks", "acme")
    assert person.scopes <= {
        "files:read",
        "user:read",
        "profile:read",
        "posts:read",
        "analytics:read",
        "notifications:write",
    }


@pytest.mark.parametrize("retried_by_themselves", [False, True])
async def test_a_job_of_an_impersonation_calls_with_the_operator_in_its_act(
    retried_by_themselves: bool, worker: str, jobs: Any, jobs_of: Any, users: Any, as_user: People, caplog: Any
) -> None:
    ann, operator = as_user.id("ann"), as_user.id("root")
    impersonated = replace(as_user.principal("ann", roles=["admin"]), impersonator=operator)
    theirs = jobs_of(lambda: as_user.headers(as_user.signer("gateway").forward(impersonated, "tasks")))
    file_id = users.add_file(ann, "sales.csv", CSV.encode())
    given = {"operation": "hash", "file_id": file_id}
    if retried_by_themselves:  # what runs is still the operator's
        users.end_member("acme", ann)
        job = await theirs.ended(await theirs.submit("file_processing", given))
        users.add_member("acme", ann, roles=["admin"])
        assert (job["status"], (await jobs.post(job, "retry")).status_code) == ("failed", 202)
    else:
        job = await theirs.submit("file_processing", given)
    assert (await jobs.ended(job))["status"] == "completed"
    reads = [call.person for call in users.calls if call.operation.startswith("GET /api/v1/files")]
    assert [(person.user_id, person.actor, person.impersonator) for person in reads] == [(ann, "tasks", operator)] * 2
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert [line["act"] for line in lines if line["event"] == "job_attempt"][-1] == str(operator)


async def test_a_persons_job_becomes_the_operators_when_an_impersonation_retries_it(
    worker: str, jobs: Any, jobs_of: Any, users: Any, as_user: People
) -> None:
    ann, operator = as_user.id("ann"), as_user.id("root")
    file_id = users.add_file(as_user.id("bob"), "sales.csv", CSV.encode())
    job = await jobs.ended(await jobs.submit("file_processing", {"operation": "hash", "file_id": file_id}))
    impersonated = replace(as_user.principal("ann", roles=["admin"]), impersonator=operator)
    theirs = jobs_of(lambda: as_user.headers(as_user.signer("gateway").forward(impersonated, "tasks")))
    assert (await theirs.post(job, "retry")).status_code == 202
    await jobs.ended(job)
    reads = [call.person for call in users.calls if call.operation.startswith("GET /api/v1/files")]
    assert [(person.user_id, person.impersonator) for person in reads] == [(ann, None), (ann, operator)]


async def test_calls_for_a_job_carry_the_attempts_deadline(
    start_worker: Any, jobs: Any, users: Any, as_user: People
) -> None:
    file_id = users.add_file(as_user.id("ann"), "sales.csv", CSV.encode())
    async with start_worker(timeout_scale=0.005):  # 300 s become 1.5 s, less than a call's own time-out
        job = await jobs.ended(await jobs.submit("file_processing", {"operation": "hash", "file_id": file_id}))
    assert (job["status"], len(users.calls)) == ("completed", 3)
    began, ended = (datetime.fromisoformat(job[when]).timestamp() for when in ("started_at", "finished_at"))
    for call in users.calls:
        assert began < float(call.headers["x-deadline"]) <= ended + 1.5


async def test_another_persons_file_fails_the_job_at_once(
    worker: str, jobs: Any, users: Any, as_user: People, database: Any
) -> None:
    file_id = users.add_file(as_user.id("bob"), "bobs.csv", CSV.encode())
    job = await jobs.ended(await jobs.submit("file_processing", {"operation": "hash", "file_id": file_id}))
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 1, "file_not_found")
    assert job["error"]["instance"] == f"/api/v1/jobs/{job['id']}"
    fact = await database.fetchrow("SELECT type, data FROM outbox WHERE type = 'job.failed.v1'")
    assert '"file_not_found"' in fact["data"]


async def test_an_outage_of_the_users_service_uses_up_no_attempt(worker: str, jobs: Any, users: Any) -> None:
    users.down = True
    job = await jobs.wait()
    waiting = await eventually(lambda: _attempted(jobs, job, 4))
    assert waiting is not None
    assert waiting["progress"] == {"percent": 0, "message": None}
    users.down = False
    done = await jobs.ended(job)
    assert done["status"] == "completed"
    assert done["max_attempts"] == 3 + done["attempt"] - 1
    assert waiting["error"]["code"] == "users_unavailable"


async def test_a_service_that_runs_alone_takes_the_tokens_word(start_worker: Any, jobs: Any, users: Any) -> None:
    users.down = True
    rows = {"operation": "count", "rows": [{"a": 1}]}
    async with start_worker(owners="token"):
        job = await jobs.ended(await jobs.submit("data_processing", rows))
        assert (job["status"], (await jobs.result(job))["result"]) == ("completed", 1)
        of_file = await jobs.submit("file_processing", {"operation": "hash", "file_id": job["id"]})
        waiting = await eventually(lambda: _attempted(jobs, of_file, 2)) or {}
        assert waiting["error"]["code"] == "users_unavailable"  # files are users-service's own


async def _attempted(jobs: Any, job: dict[str, Any], attempt: int) -> dict[str, Any] | None:
    found: dict[str, Any] = await jobs.read(job)
    return found if found["attempt"] >= attempt and found["status"] == "pending" else None


async def test_jobs_of_who_may_no_more_are_not_run(worker: str, jobs: Any, users: Any, as_user: People) -> None:
    async def error_of(kind: str, given: dict[str, Any]) -> str:
        found = await jobs.ended(await jobs.submit(kind, given))
        assert (found["status"], found["attempt"]) == ("failed", 1)
        return str(found["error"]["code"])

    ann = as_user.id("ann")
    users.add_member("acme", ann, roles=["user"])
    mail = {"to": "ann@example.com", "subject": "s", "text": "t"}
    assert await error_of("email", mail) == "insufficient_scope"
    users.end_member("acme", ann)
    assert await error_of("wait", {"seconds": 0.1}) == "owner_not_member"
    users.add_member("acme", ann, roles=["user"])
    users.tenants["acme"]["status"] = "suspended"
    assert await error_of("wait", {"seconds": 0.1}) == "owner_tenant_suspended"


async def test_a_running_job_is_cancelled_soon(worker: str, jobs: Any, database: Any) -> None:
    job = await jobs.wait(60, steps=100)
    await eventually(lambda: _moves(jobs, job), saying="it is on its way")
    reply = await jobs.post(job, "cancel")
    assert (reply.status_code, reply.json()["cancel_requested"]) == (202, True)
    found = await jobs.ended(job)
    assert (found["status"], found["error"]) == ("cancelled", None)
    assert (found["progress"]["percent"] > 0, found["progress"]["message"][:5]) == (True, "step ")
    assert await database.fetchval("SELECT count(*) FROM outbox WHERE type = 'job.cancelled.v1'") == 1


async def test_a_job_that_takes_too_long_is_stopped(start_worker: Any, jobs: Any) -> None:
    async with start_worker(timeout_scale=0.002):  # 90 s become 0.18 s
        job = await jobs.ended(await jobs.wait(30))
        assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 3, "job_timed_out")


async def test_standing_in_line_for_a_child_is_not_a_jobs_time(
    start_worker: Any, jobs: Any, users: Any, as_user: People
) -> None:
    file_id = users.add_file(as_user.id("ann"), "long.csv", b"a\n" + b"1\n" * 20_000_000)
    async with start_worker(timeout_scale=0.01, children=1):  # 300 s become 3 s
        given = {"operation": "csv_profile", "file_id": file_id}
        long = await jobs.submit("file_processing", given)
        await eventually(lambda: _moves(jobs, long), saying="it has the only child")
        behind = await jobs.submit("data_processing", {"operation": "count", "rows": [{"a": 1}] * 9})
        await jobs.becomes(behind, "running")
        done = await jobs.ended(behind, within_s=30)
        assert (done["status"], done["attempt"]) == ("completed", 1)
        await jobs.post(long, "cancel")


async def test_a_failed_job_is_taken_up_again(worker: str, jobs: Any, users: Any, as_user: People) -> None:
    users.end_member("acme", as_user.id("ann"))
    job = await jobs.ended(await jobs.wait())
    users.add_member("acme", as_user.id("ann"), roles=["user"])
    reply = await jobs.post(job, "retry")
    assert (reply.status_code, reply.json()["error"], reply.json()["max_attempts"]) == (202, None, 4)
    assert (await jobs.ended(job))["status"] == "completed"
    refused = await jobs.post(job, "retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_retryable")


async def test_a_job_runs_not_before_its_time(worker: str, jobs: Any) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1)
    later = await jobs.wait(run_at=due.isoformat())
    past = await jobs.wait(run_at="2020-01-01T00:00:00Z")
    assert (await jobs.ended(past))["status"] == "completed"
    done = await jobs.ended(later)
    assert datetime.fromisoformat(done["started_at"]) >= due


async def test_higher_priority_runs_first_then_age(start_worker: Any, jobs: Any) -> None:
    submitted = [await jobs.wait(priority=priority) for priority in (0, 5, 0, 9)]
    async with start_worker(concurrency=1):
        ended = [await jobs.ended(job) for job in submitted]
    assert _order(ended) == [3, 1, 0, 2]


async def test_a_tenant_with_one_job_is_not_behind_one_with_many(
    start_worker: Any, jobs: Any, jobs_of: Any, as_user: People
) -> None:
    many = [await jobs.wait() for _ in range(6)]
    other = jobs_of(lambda: as_user("gil", tenant="globex"))
    one = await other.wait(priority=-100)
    async with start_worker(concurrency=2):
        ended = [await jobs.ended(job) for job in many]
        alone = await other.ended(one)
    assert _order([*ended, alone]).index(6) <= 1


def _order(ended: list[dict[str, Any]]) -> list[int]:
    return sorted(range(len(ended)), key=lambda place: ended[place]["started_at"])


async def test_mail_is_sent_once_with_an_id_of_the_job(
    start_worker: Any, settings_values: dict[str, Any], mailbox: Any, jobs: Any
) -> None:
    settings_values["smtp"]["port"] = mailbox.port
    async with start_worker():
        given = {"to": "Ann@Example.com", "subject": "Grüße", "text": "Hallo Ann", "html": "<p>Hallo</p>"}
        job = await jobs.ended(await jobs.submit("email", given))
        assert job["status"] == "completed", job
        message_id = (await jobs.result(job))["message_id"]
        assert await jobs.result(job) == {"message_id": message_id, "to": "Ann@example.com"}
        assert message_id.startswith(f"<{job['id']}@")
        [envelope] = mailbox.messages
        assert (envelope.rcpt_tos, envelope.content.count(message_id.encode())) == (["Ann@example.com"], 1)

        mailbox.answer = "550 no such user"
        refused = await jobs.ended(await jobs.submit("email", given))
        assert (refused["status"], refused["attempt"], refused["error"]["code"]) == ("failed", 1, "mail_refused")
        mailbox.answer = "451 later"
        later = await jobs.submit("email", given)
        await eventually(lambda: _attempted(jobs, later, 2))
        mailbox.answer = "250 OK"
        assert (await jobs.ended(later))["status"] == "completed"
        mailbox.sender_answer = "550 we do not know you"
        ours = await jobs.submit("email", given)
        refused = await jobs.ended(ours)
        assert (refused["attempt"], refused["error"]["code"]) == (1, "mail_refused")


async def test_a_result_that_is_too_large_fails_the_job(start_worker: Any, jobs: Any) -> None:
    rows = [{"a": "x" * 500}] * 10
    async with start_worker(max_result_bytes=1024):
        sorted_rows = {"operation": "sort", "field": "a", "rows": rows}
        job = await jobs.ended(await jobs.submit("data_processing", sorted_rows))
        assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 1, "result_too_large")


async def test_a_long_calculation_is_cancelled_and_the_next_one_runs(
    worker: str, jobs: Any, users: Any, as_user: People
) -> None:
    big = "a\n" + "1\n" * 20_000_000
    file_id = users.add_file(as_user.id("ann"), "big.csv", big.encode())
    job = await jobs.submit("file_processing", {"operation": "csv_profile", "file_id": file_id})
    await eventually(lambda: _moves(jobs, job), saying="the child reports progress")
    await jobs.post(job, "cancel")
    assert (await jobs.ended(job))["status"] == "cancelled"
    small = {"operation": "count", "rows": [{"a": 1}]}
    assert (await jobs.ended(await jobs.submit("data_processing", small)))["status"] == "completed"


async def _moves(jobs: Any, job: dict[str, Any]) -> bool:
    return bool((await jobs.read(job))["progress"]["percent"] > 0)


async def test_jobs_start_at_once(start_worker: Any, jobs: Any) -> None:
    """A notice wakes the worker: its poll is an hour away."""
    async with start_worker(poll_s=3600):
        for _ in range(3):
            assert (await jobs.ended(await jobs.wait()))["status"] == "completed"


async def test_the_worker_tells_how_it_is(worker: str, jobs: Any) -> None:
    await jobs.ended(await jobs.wait())
    async with httpx2.AsyncClient(base_url=worker) as client:
        assert (await client.get("/livez")).status_code == 200
        detailed = (await client.get("/health/detailed")).json()
        assert detailed["checks"]["database"]["status"] == "ok"
        metrics = (await client.get("/metrics")).text
    assert 'flotilla_job_attempts_total{kind="wait",outcome="completed"}' in metrics
    assert "flotilla_jobs_due 0.0" in metrics


async def test_a_worker_runs_twenty_jobs_at_once_and_no_more(worker: str, jobs: Any) -> None:
    submitted = [await jobs.wait(60) for _ in range(20)]
    await asyncio.gather(*(jobs.becomes(job, "running") for job in submitted))
    one_more = await jobs.wait()
    await jobs.post(submitted[0], "cancel")
    done = await jobs.ended(one_more)
    assert done["started_at"] >= (await jobs.read(submitted[0]))["finished_at"]


async def test_what_became_of_a_job_reaches_those_who_listen(
    worker: str, jobs: Any, bus_url: str, as_user: People
) -> None:
    heard: list[dict[str, Any]] = []

    async def hear(message: bytes) -> None:
        heard.append(orjson.loads(message))

    bus = open_bus(bus_url)
    await bus.declare("chat", ["job.completed.v1"])
    listening = asyncio.create_task(bus.consume("chat", hear))
    job = await jobs.wait()
    await eventually(lambda: heard, saying="job.completed.v1 arrived")
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await bus.close()
    [event] = heard
    assert (event["type"], event["subject"], event["subjectversion"]) == ("job.completed.v1", job["id"], 2)
    assert event["tenantid"] == str(as_user.tenant_id("acme"))
    assert event["data"] == {"user_id": str(as_user.id("ann")), "kind": "wait"}
