"""Limits: exact over gateways, stated while the cache is away, said in headers."""

import asyncio
import time
from collections import Counter
from typing import Any

import httpx2
import jwt
import pytest

from gateway.policy.limits.bucket import Decision, Limit, LocalBuckets
from gateway.policy.limits.limiter import Limiter
from gateway.policy.limits.pipe import CacheAddress, CacheAway, Pipe
from gateway.policy.limits.tiers import network_of, refusal
from shared.dev.servers.guard import Guard
from shared.dev.servers.valkey import Valkey
from shared.testing.waiting import eventually

SIGNED = "/api/v1/rooms/7/messages"
CONTENT = "/api/v1/files/1/content"
EVENTS = "/api/v1/jobs/1/events"  # its requests are exempt, guesses are not
REAL = {"scale": 1, "anonymous": 100}


async def test_a_limit_of_100_admits_exactly_100_of_400_at_two_gateways(open_edge: Any, sign_in: Any) -> None:
    edges = [await open_edge(limits=REAL), await open_edge(limits=REAL)]
    headers = sign_in("ann", tier="free")
    async with httpx2.AsyncClient(timeout=30) as client:
        requests = (client.get(edges[number % 2].url + SIGNED, headers=headers) for number in range(400))
        replies = await asyncio.gather(*requests)
    admitted = [reply for reply in replies if reply.status_code == 200]
    refused = [reply for reply in replies if reply.status_code == 429]
    assert (len(admitted), len(refused)) == (100, 300)
    assert sorted(int(reply.headers["x-ratelimit-remaining"]) for reply in admitted) == list(range(100))
    for reply in refused:
        assert reply.json()["code"] == "too_many_requests"
        assert 1 <= int(reply.headers["retry-after"]) <= 36


async def test_what_answers_say_about_the_limit(open_edge: Any, sign_in: Any) -> None:
    edge = await open_edge(limits=REAL)
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        reply = await client.get(SIGNED, headers=sign_in("ann", tier="premium"))
    assert reply.headers["ratelimit-policy"] == '"premium";q=1000;w=3600'
    assert reply.headers["ratelimit"] == '"premium";r=999;t=4'
    assert reply.headers["x-ratelimit-limit"] == "1000"
    assert reply.headers["x-ratelimit-remaining"] == "999"
    assert reply.headers["x-ratelimit-tier"] == "premium"
    assert abs(int(reply.headers["x-ratelimit-reset"]) - time.time() - 4) < 3


async def test_people_and_tenants_have_buckets_of_their_own(open_edge: Any, sign_in: Any) -> None:
    edge = await open_edge(limits=REAL)
    who = [sign_in("ann", tier="free"), sign_in("bob", tier="free"), sign_in("ann", tenant="globex", tier="free")]
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        left = [(await client.get(SIGNED, headers=headers)).headers["x-ratelimit-remaining"] for headers in who]
        again = await client.get(SIGNED, headers=sign_in("ann", tier="free"))  # another token, the same person
    assert left == ["99", "99", "99"]
    assert again.headers["x-ratelimit-remaining"] == "98"


async def test_who_is_not_signed_in_counts_by_address(open_edge: Any) -> None:
    edge = await open_edge(limits={"scale": 1, "anonymous": 3})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        replies = [await client.post("/auth/login", json={}) for _ in range(2)]
        replies += [await client.get(SIGNED), await client.get(SIGNED)]
        assert [reply.status_code for reply in replies] == [200, 200, 401, 429]
        spoofed = await client.get(SIGNED, headers={"X-Forwarded-For": "10.1.1.1"})
        assert spoofed.status_code == 429
        exempt = await client.post("/auth/refresh", json={})
        assert exempt.status_code == 200
        assert "x-ratelimit-limit" not in exempt.headers


async def test_who_guesses_tickets_is_refused_before_auth_service_is_asked(open_edge: Any, upstream: Any) -> None:
    edge = await open_edge(limits={"scale": 1, "anonymous": 5})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        guesses = (client.get(f"{CONTENT if n % 2 else EVENTS}?ticket={n}") for n in range(40))
        replies = await asyncio.gather(*guesses)
    assert Counter(reply.status_code for reply in replies) == {401: 5, 429: 35}
    assert upstream.redeemed == 5
    assert all(reply.headers["x-ratelimit-tier"] == "anonymous" for reply in replies)


async def test_a_good_ticket_counts_against_its_person_alone(open_edge: Any, sign_in: Any, upstream: Any) -> None:
    edge = await open_edge(limits={"scale": 1, "anonymous": 1})
    claims = jwt.decode(sign_in.token(sign_in.principal("ann", tier="free")), options={"verify_signature": False})
    upstream.tickets[("good", CONTENT)] = claims
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        replies = [await client.get(f"{CONTENT}?ticket=good") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200, 200, 200]
        assert [reply.headers["x-ratelimit-remaining"] for reply in replies] == ["99", "98", "97"]
        assert (await client.post("/auth/login", json={})).status_code == 200
        assert (await client.get(f"{CONTENT}?ticket=good")).status_code == 429  # the address is used up


async def test_a_trusted_load_balancer_says_whose_request_it_is(open_edge: Any) -> None:
    edge = await open_edge(limits={"scale": 1, "anonymous": 1}, proxy={"trusted": ("127.0.0.0/8", "10.0.0.0/8")})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        for told in ("198.51.100.1, 10.0.0.9", "198.51.100.2"):
            assert (await client.post("/auth/login", json={}, headers={"X-Forwarded-For": told})).status_code == 200
        for again in (
            [("X-Forwarded-For", "203.0.113.7, 198.51.100.2")],
            [("X-Forwarded-For", "203.0.113.7, 198.51.100.2:4711")],
            [("X-Forwarded-For", "203.0.113.7, 198.51.100.2"), ("X-Forwarded-For", "10.0.0.9")],
        ):
            assert (await client.post("/auth/login", json={}, headers=again)).status_code == 429


@pytest.fixture
async def own_cache(tmp_path: Any) -> Any:
    """A cache that the test may stop."""
    guard = Guard()
    cache = Valkey(tmp_path / "cache", guard)
    await cache.start()
    yield cache
    await cache.stop()
    guard.close()


async def test_without_the_cache_each_gateway_admits_its_share(open_edge: Any, sign_in: Any, own_cache: Any) -> None:
    edge = await open_edge(redis_url=own_cache.url, limits={**REAL, "gateways": 2})
    headers = sign_in("ann", tier="free")
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        assert (await client.get(SIGNED, headers=headers)).headers["x-ratelimit-limit"] == "100"
        await own_cache.stop()
        replies = await asyncio.gather(*(client.get(SIGNED, headers=headers) for _ in range(120)))
        assert sorted({reply.status_code for reply in replies}) == [200, 429]
        assert sum(reply.status_code == 200 for reply in replies) == 50
        assert replies[0].headers["x-ratelimit-limit"] == "50"
        await own_cache.start()

        async def shared_again() -> bool:
            return bool((await client.get(SIGNED, headers=headers)).headers["x-ratelimit-limit"] == "100")

        await eventually(shared_again)


async def test_a_cache_that_hangs_costs_a_moment_and_no_answer(open_edge: Any, sign_in: Any, raw_upstream: Any) -> None:
    async def silent(reader: Any, writer: Any) -> None:
        await reader.readline()
        writer.write(b"$2\r\nok\r\n" * 2)  # the scripts are loaded; then nothing is answered any more
        while await reader.read(65536):
            pass

    url = await raw_upstream(silent)
    edge = await open_edge(redis_url=url.replace("http", "redis"), limits=REAL)
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        replies = await asyncio.gather(*(client.get(SIGNED, headers=sign_in("ann", tier="free")) for _ in range(20)))
    assert {reply.status_code for reply in replies} == {200}


async def test_after_the_time_in_retry_after_one_request_is_admitted(cache_url: str) -> None:
    limiter = Limiter(cache_url, gateways=1)
    pipe = limiter.pipe
    assert pipe is not None
    running = asyncio.create_task(pipe.run())
    await eventually(lambda: pipe.connected)
    limit = Limit("free", 3, per_s=3)
    while (decision := await limiter.take("k", limit)).admitted:
        pass
    wait_s = int(refusal(decision).headers["Retry-After"])
    assert wait_s == 1
    await asyncio.sleep(wait_s)
    assert (await limiter.take("k", limit)).admitted
    running.cancel()
    limiter.close()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_call_in_the_moment_the_connection_ends_is_not_waited_for(
    own_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd of requests stands between the end of the connection and whoever makes the next one."""
    pipe = Pipe(own_cache.url)
    running = asyncio.create_task(pipe.run())
    await eventually(lambda: pipe.connected)
    wire, refused = pipe._wire, asyncio.Event()
    assert wire is not None
    ends = wire.connection_lost

    def ends_under_a_request(exc: Exception | None) -> None:
        ends(exc)
        with pytest.raises(CacheAway):
            pipe.call("PING")
        refused.set()

    monkeypatch.setattr(wire, "connection_lost", ends_under_a_request)
    await own_cache.stop()
    async with asyncio.timeout(10):
        await refused.wait()
    running.cancel()
    pipe.close()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_flushed_cache_loses_the_count_and_nothing_else(cache_url: str) -> None:
    limiter = Limiter(cache_url, gateways=1)
    assert limiter.pipe is not None
    running = asyncio.create_task(limiter.pipe.run())
    pipe = limiter.pipe
    await eventually(lambda: pipe.connected)
    limit = Limit("free", 5)
    assert [(await limiter.take("k", limit)).left for _ in range(6)] == [4, 3, 2, 1, 0, -1]
    await pipe.call("FLUSHALL")
    await pipe.call("SCRIPT", "FLUSH")
    decision = await limiter.take("k", limit)
    assert (decision.left, decision.limit.requests) == (4, 5)
    running.cancel()
    limiter.close()
    await asyncio.gather(running, return_exceptions=True)


async def test_calls_of_one_turn_are_answered_in_their_order(cache_url: str) -> None:
    pipe = Pipe(cache_url)
    with pytest.raises(CacheAway):
        pipe.call("PING")
    running = asyncio.create_task(pipe.run())
    await eventually(lambda: pipe.connected)
    replies = await asyncio.gather(*(pipe.call("ECHO", str(number)) for number in range(1000)))
    assert replies == [str(number).encode() for number in range(1000)]
    running.cancel()
    pipe.close()
    await asyncio.gather(running, return_exceptions=True)


def test_a_bucket_refills_evenly_over_the_hour() -> None:
    buckets, limit = LocalBuckets(), Limit("free", 100)
    assert sum(buckets.take("k", limit, 0).admitted for _ in range(150)) == 100
    a_request = 36_000_000
    assert buckets.take("k", limit, a_request - 1).wait_us == 1
    assert buckets.take("k", limit, a_request).admitted
    assert not buckets.take("k", limit, a_request).admitted
    half = sum(buckets.take("k", limit, a_request * 51).admitted for _ in range(150))
    assert half == 50
    assert buckets.take("other", limit, 0) == Decision(limit, 99, a_request, 0)


def test_the_cache_s_address_is_read_from_its_url() -> None:
    address = CacheAddress.from_url("rediss://me:p%40ss@cache.example:7000/3")
    assert (address.host, address.port, address.tls) == ("cache.example", 7000, True)
    assert address.greeting() == [("AUTH", "me", "p@ss"), ("SELECT", 3)]
    assert "p@ss" not in repr(address)


def test_an_ipv6_household_is_one_caller() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::9") != network_of("2001:db8:1:3::9")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("192.0.2.1") == "192.0.2.1"
