"""A job's event stream over a real socket: the state now, what follows, resuming, and the end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from shared.identity import Principal, Revocations
from shared.identity.revocation_entries import FeedPage
from shared.resources import Resources
from shared.testing import People

Event = tuple[str, dict[str, Any], int]


async def events(jobs: Any, job: dict[str, Any], last: int | None = None) -> AsyncGenerator[Event]:
    """(name, job, id) of each event until the server ends the stream."""
    headers = jobs.headers if last is None else {**jobs.headers, "Last-Event-ID": str(last)}
    path = f"/api/v1/jobs/{job['id']}/events"
    async with jobs.client.stream("GET", path, headers=headers, timeout=30) as reply:
        assert (reply.status_code, reply.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        fields: dict[str, str] = {}
        async for line in reply.aiter_lines():
            name, _, value = line.partition(": ")
            if line and name:
                fields[name] = value
            elif not line and "event" in fields:
                yield fields["event"], orjson.loads(fields["data"]), int(fields["id"])
                fields = {}


async def test_progress_is_watched_live_to_the_end(worker: str, jobs: Any) -> None:
    job = await jobs.wait(0.5, steps=5)
    seen = [event async for event in events(jobs, job)]
    names, states, ids = zip(*seen, strict=True)
    assert names[-1] == "completed"
    assert set(names[:-1]) == {"progress"}
    assert len(names) >= 4
    assert list(ids) == sorted(set(ids))
    percents = [state["progress"]["percent"] for state in states]
    assert percents == sorted(percents)
    assert states[-1] == await jobs.read(job)
    assert states[-2]["progress"]["message"].startswith("step ")
    assert states[-1]["progress"] == {"percent": 100, "message": None}


async def test_all_watchers_are_told_the_same(worker: str, jobs: Any) -> None:
    job = await jobs.wait(0.6, steps=6)

    async def watched() -> list[Event]:
        return [event async for event in events(jobs, job, last=0)]

    first, *others = await asyncio.gather(*(watched() for _ in range(12)))
    assert first[-1][0] == "completed"
    assert all(told == first for told in others)


async def test_a_resumed_stream_goes_on_behind_what_was_seen_with_no_seam(worker: str, jobs: Any) -> None:
    job = await jobs.wait(0.6, steps=6)
    async with aclosing(events(jobs, job)) as stream:
        first = [await anext(stream) for _ in range(3)]
    await jobs.ended(job)
    rest = [event async for event in events(jobs, job, last=first[-1][2])]
    whole = [event async for event in events(jobs, job, last=0)]
    assert [event[2] for event in rest] == list(range(first[-1][2] + 1, rest[-1][2] + 1))
    assert rest[-1][0] == "completed"
    assert whole[-len(rest) :] == rest
    assert whole[0][2] == 1


async def test_who_has_seen_the_last_event_is_told_that_there_is_no_more(jobs: Any) -> None:
    job = await jobs.wait()
    await jobs.post(job, "cancel")
    [(name, state, last)] = [event async for event in events(jobs, job)]
    assert (name, state["status"]) == ("cancelled", "cancelled")
    headers = {**jobs.headers, "Last-Event-ID": str(last)}
    reply = await jobs.client.get(f"/api/v1/jobs/{job['id']}/events", headers=headers)
    assert (reply.status_code, reply.content) == (204, b"")


@pytest.mark.parametrize("nonsense", ["x", "-1", "9" * 30, "99", "x" * 300])
async def test_an_id_that_was_never_given_counts_as_none(jobs: Any, nonsense: str) -> None:
    job = await jobs.wait()
    await jobs.post(job, "cancel")
    headers = {**jobs.headers, "Last-Event-ID": nonsense}
    reply = await jobs.client.get(f"/api/v1/jobs/{job['id']}/events", headers=headers)
    assert reply.status_code == 200
    assert "event: cancelled" in reply.text


async def test_a_long_story_is_told_in_one_go(jobs: Any, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More events than one look reads: no pause between the looks, and no end before the last."""
    monkeypatch.setattr("tasks_service.jobs.watch.POLL_S", 3600)
    job = await jobs.wait()
    await jobs.post(job, "cancel")
    await database.execute("DELETE FROM job_events")
    await database.execute(
        "INSERT INTO job_events (tenant_id, job_id, seq, name, data)"
        " SELECT tenant_id, id, seq, CASE WHEN seq % 100 = 0 THEN 'cancelled' ELSE 'progress' END, '{}'"
        " FROM jobs CROSS JOIN generate_series(1, 1000) seq"
    )
    await database.execute("UPDATE jobs SET event_seq = 1000")
    async with asyncio.timeout(30):
        told = [event[2] async for event in events(jobs, job, last=0)]
    assert told == list(range(1, 1001))


async def test_a_watcher_sees_a_job_taken_up_again(jobs: Any) -> None:
    job = await jobs.wait()
    async with aclosing(events(jobs, job)) as stream:
        assert (await anext(stream))[1]["status"] == "pending"
        await jobs.post(job, "cancel")
        assert (await anext(stream))[0] == "cancelled"
    await jobs.post(job, "retry")
    async with aclosing(events(jobs, job, last=1)) as stream:
        assert (await anext(stream))[1]["status"] == "pending"


async def test_a_lost_notice_delays_but_hides_nothing(jobs: Any, database: Any) -> None:
    """The LISTEN connection is cut at the moment that matters: the poll behind it finds the event."""
    job = await jobs.wait()
    async with aclosing(events(jobs, job)) as stream:
        await anext(stream)
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE '%listen'"
        assert await database.fetchval(cut) == 1
        await jobs.post(job, "cancel")
        async with asyncio.timeout(30):
            assert (await anext(stream))[0] == "cancelled"


async def test_a_stream_ends_with_its_session(resources: Resources, jobs: Any, as_user: People) -> None:
    told: list[dict[str, Any]] = []

    async def feed(_after: str | None, _seen: str | None) -> FeedPage:
        return FeedPage.model_validate({"entries": told, "next": "1"})

    revocations = Revocations({"auth": feed}, interval_s=0.05)
    resources.add(revocations, Revocations)
    await revocations.poll("auth")
    job = await jobs.wait()
    async with aclosing(events(jobs, job)) as stream:
        await anext(stream)
        ann = {"kind": "user", "id": str(as_user.id("ann")), "epoch": 1, "expires_at": 4_000_000_000}
        told.append(ann)
        await revocations.poll("auth")
        async with asyncio.timeout(30):
            assert await anext(stream, None) is None


class LetIn(Revocations):
    """Lets a request in a moment before it hears the news."""

    def admit(self, principal: Principal, *, fresh: bool = False) -> None: ...


async def test_a_stream_ends_whose_session_ended_as_it_opened(resources: Resources, jobs: Any, as_user: People) -> None:
    ann = {"kind": "user", "id": str(as_user.id("ann")), "epoch": 1, "expires_at": 4_000_000_000}

    async def feed(_after: str | None, _seen: str | None) -> FeedPage:
        return FeedPage.model_validate({"entries": [ann], "next": "1"})

    job = await jobs.wait()
    revocations = LetIn({"auth": feed})
    resources.add(revocations, Revocations)
    await revocations.poll("auth")
    async with aclosing(events(jobs, job)) as stream, asyncio.timeout(30):
        await anext(stream)
        assert await anext(stream, None) is None
