"""What dies comes back, and nobody who was answered loses anything by it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import harm
import httpx2
from people import Person, Socket, Town
from redis.asyncio import Redis
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from shared.dev.launcher.child_process import Child
from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

ONE_WORKERS_JOBS: Final = 20  # WORKER__CONCURRENCY
RECOVERED_S: Final = 30
OUTAGE_S: Final = 30


async def test_jobs_of_a_killed_worker_complete_once(fleet: Fleet, town: Town) -> None:
    """Twice as many jobs as one worker takes keep both full: twenty run on the one that dies.

    They are long enough that the first still runs when the last has begun, however busy the machine is.
    """
    await eventually(lambda: workers_idle(fleet), within_s=90, every_s=0.5, saying="no job of another test runs")
    ann = await town.founder()
    starts = [ann.start_job("wait", seconds=20, steps=20) for _ in range(2 * ONE_WORKERS_JOBS)]
    jobs = set(await asyncio.gather(*starts))
    await eventually(lambda: all_run(ann, jobs), within_s=20, every_s=0.2, saying="every job runs")

    worker = fleet.children["worker"]
    before = worker.pid
    harm.crash(worker)
    killed_at = asyncio.get_running_loop().time()
    await eventually(lambda: all_taken_up(ann, jobs), within_s=60, every_s=0.2, saying="every job was taken up again")
    recovered_s = asyncio.get_running_loop().time() - killed_at
    assert recovered_s <= RECOVERED_S
    ended = [await ann.job_ended(job, within_s=60) for job in jobs]

    assert Counter(job["status"] for job in ended) == {"completed": len(jobs)}
    assert Counter(job["attempt"] for job in ended) == {1: ONE_WORKERS_JOBS, 2: ONE_WORKERS_JOBS}
    for job in ended:
        told = await ann.told_of(job["id"])
        assert [one["event"] for one in told].count("completed") == 1, told
        assert {one["attempt"] for one in told if one["status"] == "running"} == set(range(1, job["attempt"] + 1))
    await each_notified_once(ann, jobs)
    await harm.runs_anew(worker, before)


async def workers_idle(fleet: Fleet) -> bool:
    """Whether every worker could take as many jobs as it runs at once."""
    workers = [child for name, child in fleet.children.items() if name.startswith("worker")]
    async with httpx2.AsyncClient() as http:
        shown = [(await http.get(f"{worker.command.url}/metrics")).text for worker in workers]
    return all("\nflotilla_jobs_running 0.0\n" in metrics for metrics in shown)


async def all_run(person: Person, jobs: set[str]) -> bool:
    """Each in its first attempt, which has told so already."""
    running = await person.all_of("/api/v1/jobs", status="running")
    return {job["id"] for job in running if job["progress"]["percent"] > 0} == jobs


async def all_taken_up(person: Person, jobs: set[str]) -> bool:
    """None waits for an attempt, and those that the dead worker held are in their second."""
    found = await person.all_of("/api/v1/jobs")
    attempts = [job["attempt"] for job in found if job["status"] in ("running", "completed")]
    return len(attempts) == len(jobs) and attempts.count(2) == ONE_WORKERS_JOBS


async def each_notified_once(person: Person, jobs: set[str], within_s: float = 60) -> None:
    """Wait for a notification of every job; none has two."""

    async def look() -> Counter[str] | None:
        told = await person.all_of("/api/v1/notifications", kind="job.completed")
        found = Counter(one["data"]["job_id"] for one in told)
        return found if found.keys() >= jobs else None

    found = await eventually(look, within_s=within_s, every_s=0.2, saying=f"{len(jobs)} notifications came")
    assert found == dict.fromkeys(jobs, 1)


@dataclass
class Talker:
    """A client as product.md wants it: when its connection ends it comes back by another gateway, and resumes."""

    person: Person
    room_id: str
    heard: list[tuple[int, str]] = field(default_factory=list)
    acked: list[str] = field(default_factory=list)
    resumed: int = 0
    _epoch: str | None = None

    async def talk(self, texts: list[str], until: int) -> None:
        """Say the texts, each until it is acked, and hear the room until `until` messages are heard."""
        gateway = self.person.gateway
        while len(self.heard) < until or len(self.acked) < len(texts):
            with suppress(ConnectionClosed, InvalidHandshake, OSError):
                async with self.person.at(gateway).socket() as socket:
                    await self._converse(socket, texts, until)
                    return
            gateway = (gateway + 1) % len(self.person.town.urls)

    def has_said_some(self) -> bool:
        return len(self.acked) >= 1

    async def _converse(self, socket: Socket, texts: list[str], until: int) -> None:
        resume = {"after": self.heard[-1][0], "epoch": self._epoch} if self.heard else {}
        subscribed = await socket.subscribe(self.room_id, **resume)
        self._epoch = subscribed["epoch"]
        if resume:
            assert subscribed["recovered"] is True
            self.resumed += 1
        await self._say_next(socket, texts)
        while len(self.heard) < until or len(self.acked) < len(texts):
            async with asyncio.timeout(20):
                frame = await socket.read()
            if frame["type"] == "message":
                self.heard.append((frame["seq"], frame["text"]))
            elif frame["type"] == "ack":
                self.acked.append(frame["client_id"])
                await self._say_next(socket, texts)

    async def _say_next(self, socket: Socket, texts: list[str]) -> None:
        """The text is its own client_id: said again after a lost ack it is stored once."""
        if len(self.acked) < len(texts):
            text = texts[len(self.acked)]
            await socket.send(type="send", room_id=self.room_id, text=text, client_id=text)


async def test_clients_of_a_killed_chat_replica_resume_on_the_other(fleet: Fleet, town: Town) -> None:
    ann = await town.founder()
    bob = await town.member(ann)
    room = await ann.room("private")
    await ann.call("PUT", f"/api/v1/rooms/{room}/members/{bob.id}", 201)
    texts = {person.id: [f"{person.username} {number}" for number in range(30)] for person in (ann, bob)}
    talkers, talks = [Talker(person, room) for person in (ann, bob)], []
    for one in talkers:
        talks.append(asyncio.create_task(one.talk(texts[one.person.id], until=60)))
        await eventually(one.has_said_some, within_s=20, saying=f"{one.person.username} talks")
        await history(ann, room)  # takes the other replica's turn, so that both are at the same one
    replica = await the_one_with(fleet, sockets=len(talkers))
    before = replica.pid
    harm.crash(replica)
    await asyncio.wait_for(asyncio.gather(*talks), 60)

    assert all(one.resumed for one in talkers)
    assert talkers[0].heard == talkers[1].heard
    assert [seq for seq, _ in talkers[0].heard] == list(range(1, 61))
    assert sorted(text for _, text in talkers[0].heard) == sorted(texts[ann.id] + texts[bob.id])
    for one in talkers:
        own = [text for _, text in one.heard if text in texts[one.person.id]]
        assert own == texts[one.person.id] == one.acked
    await harm.runs_anew(replica, before)


async def the_one_with(fleet: Fleet, sockets: int) -> Child:
    """The chat replica that holds so many sockets; sockets of earlier tests may still be closing."""

    async def look() -> Child | None:
        for replica in (fleet.children["chat"], fleet.children["chat-2"]):
            metrics = (await http.get(f"{replica.command.url}/metrics")).text
            if f"\nflotilla_chat_connections {sockets}.0\n" in metrics:
                return replica
        return None

    async with httpx2.AsyncClient(timeout=5) as http:
        found = await eventually(look, within_s=20, saying=f"one chat replica holds {sockets} sockets")
    assert found is not None
    return found


async def test_requests_do_not_notice_that_the_broker_is_away(fleet: Fleet, town: Town) -> None:
    ann = await town.founder()
    room = await ann.room()
    jobs: set[str] = set()
    posted: list[str] = []

    async def one_round() -> None:
        jobs.add(await ann.start_job("data_processing", operation="sum", field="n", rows=[{"n": 1}, {"n": 2}]))
        text = uuid4().hex
        await ann.post(f"/api/v1/rooms/{room}/messages", 201, json={"text": text, "client_id": text})
        posted.append(text)
        await ann.call("PATCH", "/api/v1/profile", 200, json={"bio": text})
        assert (await ann.at(1).get("/api/v1/profile")).json()["bio"] == text

    await one_round()
    loop = asyncio.get_running_loop()
    async with harm.without(fleet, "bus"):
        until = loop.time() + OUTAGE_S
        while loop.time() < until:
            await one_round()
            assert await harm.unready(fleet) == {}
            newest = max(jobs)
            assert (await ann.job_ended(newest))["status"] == "completed"
    await each_notified_once(ann, jobs)
    assert [one["text"] for one in await history(ann, room)] == posted


async def history(person: Person, room_id: str) -> list[dict[str, Any]]:
    """Every message of the room, oldest first."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["seq"] if found else 0
        page = (await person.get(f"/api/v1/rooms/{room_id}/messages", params={"after": after, "limit": 200})).json()
        found += page["items"]
        if not page["has_more"]:
            return found


@dataclass
class Load:
    """Requests without a pause, until told to stop: what was accepted, and what was answered otherwise."""

    accepted: list[str] = field(default_factory=list)
    away: int = 0
    stopped: bool = False

    async def run(self, request: Callable[[str], Awaitable[httpx2.Response]], named: Callable[[Any], str]) -> None:
        """Requests are told apart by a name of their own; `named` finds the accepted one's in the answer."""
        while not self.stopped:
            reply = await request(uuid4().hex)
            if reply.status_code == 503:
                assert int(reply.headers["retry-after"]) > 0
                assert reply.headers["content-type"] == "application/problem+json"
                self.away += 1
                continue
            assert reply.is_success, f"{reply.status_code}: {reply.text[:300]}"
            if reply.request.method != "GET":
                self.accepted.append(named(reply.json()))


async def test_a_restart_of_postgresql_under_load_loses_nothing(fleet: Fleet, town: Town) -> None:
    ann = await town.founder()
    room = await ann.room()
    before = harm.lives(fleet)

    def job(name: str) -> Awaitable[httpx2.Response]:
        body = {"kind": "data_processing", "input": {"operation": "count", "rows": [{"name": name}]}}
        return ann.post("/api/v1/jobs", json=body)

    def message(name: str) -> Awaitable[httpx2.Response]:
        body = {"text": name, "client_id": name}
        return ann.at(1).post(f"/api/v1/rooms/{room}/messages", json=body)

    def file(name: str) -> Awaitable[httpx2.Response]:
        return ann.post("/api/v1/files", files={"file": (f"{name}.txt", name.encode(), "text/plain")})

    loads = {"jobs": Load(), "messages": Load(), "files": Load(), "reads": Load()}
    running = asyncio.gather(
        loads["jobs"].run(job, lambda body: str(body["id"])),
        loads["messages"].run(message, lambda body: str(body["text"])),
        loads["files"].run(file, lambda body: str(body["id"])),
        loads["reads"].run(lambda _: ann.at(1).get("/auth/me", None), str),
    )
    await eventually(lambda: all(len(loads[name].accepted) > 3 for name in ("jobs", "messages", "files")), within_s=20)
    async with harm.without(fleet, "postgres"):
        await eventually(lambda: running.done() or all(load.away for load in loads.values()), within_s=20)
    seen = {name: len(load.accepted) for name, load in loads.items() if name != "reads"}
    await eventually(
        lambda: running.done() or all(len(loads[name].accepted) > count for name, count in seen.items()),
        within_s=30,
        saying="everything is accepted again",
    )
    for load in loads.values():
        load.stopped = True
    await running

    assert harm.lives(fleet) == before
    for id_ in loads["jobs"].accepted:
        assert (await ann.job_ended(id_, within_s=60))["status"] == "completed"
    assert {one["text"] for one in await history(ann, room)} >= set(loads["messages"].accepted)
    assert {one["id"] for one in await ann.all_of("/api/v1/files")} >= set(loads["files"].accepted)
    await each_notified_once_at_least_of(ann, set(loads["jobs"].accepted))


async def each_notified_once_at_least_of(person: Person, jobs: set[str]) -> None:
    """As `each_notified_once`, where jobs may exist whose acceptance was never heard of."""
    await eventually(lambda: _notified(person, jobs), within_s=60, every_s=0.2, saying="every job was told of")
    told = await person.all_of("/api/v1/notifications", kind="job.completed")
    assert max(Counter(one["data"]["job_id"] for one in told).values()) == 1


async def _notified(person: Person, jobs: set[str]) -> bool:
    told = await person.all_of("/api/v1/notifications", kind="job.completed")
    return {one["data"]["job_id"] for one in told} >= jobs


async def test_flushing_the_cache_loses_nothing_and_revives_nothing(fleet: Fleet, town: Town) -> None:
    ann = await town.founder()
    gone = await town.member(ann)
    room = await ann.room()
    for number in range(3):
        await ann.post(f"/api/v1/rooms/{room}/messages", 201, json={"text": f"m{number}", "client_id": f"m{number}"})
    job = await ann.start_job("data_processing", operation="count", rows=[{"n": 1}])
    await ann.job_ended(job)
    await each_notified_once(ann, {job})
    await gone.post("/auth/logout", 204)
    await eventually(gone.refused, within_s=2, saying="the token of the ended session is refused")
    async with ann.socket() as open_before:
        await open_before.subscribe(room)

        async with Redis.from_url(fleet.backing.redis_url) as cache:
            await cache.flushall()

        assert await gone.refused()
        assert [one["text"] for one in await history(ann, room)] == ["m0", "m1", "m2"]
        assert (await ann.get(f"/api/v1/jobs/{job}/result")).json()["result"] == 1
        await each_notified_once(ann, {job})
        async with ann.at(1).socket() as other:
            await other.subscribe(room)
            await other.say(room, "afterwards")
        await open_before.next("message", text="afterwards")


async def test_a_gateway_that_restarts_still_refuses_an_ended_session(fleet: Fleet, town: Town) -> None:
    ann = await town.founder()
    await ann.post("/auth/logout", 204)
    gateway = fleet.children["gateway-2"]
    before = gateway.pid
    await gateway.restart()
    await harm.runs_anew(gateway, before)
    await eventually(lambda: harm.is_ready(gateway), within_s=harm.COMES_BACK_S, saying="the gateway is ready")
    reply = await ann.at(1).get("/api/v1/job-kinds", None)  # tasks-service would take the token's word for it
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_token")
