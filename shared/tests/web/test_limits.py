"""Rate limits: the cache's script decides as the arithmetic does, exactly and over all replicas."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.limits import Bucket, Decision, Limit, Limiter, LocalBuckets, SharedBuckets, client_network
from shared.limits.buckets import judge, tightest
from shared.testing import Servers
from shared.testing.waiting import eventually

LIMITS = (Limit("hour", 100), Limit("minute", 6, window_s=60, burst=3), Limit("second", 2, window_s=1, burst=5))
CHOICES = st.sets(st.sampled_from(LIMITS), min_size=1)
CHARGES = st.tuples(CHOICES, st.sampled_from((-2, -1, 1, 2, 3)))
PAUSES_US = st.integers(1, 40_000_000)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[SharedBuckets]:
    buckets = SharedBuckets(url)
    running = asyncio.create_task(buckets.connection.run())
    await eventually(lambda: buckets.connection.connected, saying="the cache is connected")
    try:
        yield buckets
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture(scope="module")
async def shared(servers: Servers) -> AsyncIterator[SharedBuckets]:
    async with connected(await servers.valkey_url()) as buckets:
        yield buckets


@pytest.fixture
def fresh() -> str:
    """A name that no other test's buckets have."""
    return str(uuid4())


async def full_at_us(shared: SharedBuckets, bucket: Bucket) -> int | None:
    stored = await shared.connection.call("GET", f"limit:{bucket.key}")
    return None if stored is None else int(stored)


async def let_pass(shared: SharedBuckets, bucket: Bucket, pause_us: int) -> None:
    """Move a bucket to where it will be after a pause."""
    if (full_at := await full_at_us(shared, bucket)) is not None:
        await shared.connection.call("SET", f"limit:{bucket.key}", full_at - pause_us, "KEEPTTL")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(CHARGES | PAUSES_US, min_size=1, max_size=30))
async def test_the_script_decides_as_the_arithmetic_does(
    shared: SharedBuckets, steps: list[tuple[set[Limit], int] | int]
) -> None:
    run = uuid4()
    buckets = [Bucket(f"{run}:{limit.name}", limit) for limit in LIMITS]
    expected = dict.fromkeys(buckets, 0)
    for step in steps:
        if isinstance(step, int):
            for bucket in buckets:
                await let_pass(shared, bucket, step)
                expected[bucket] = max(0, expected[bucket] - step)
            continue
        charged = [bucket for bucket in buckets if bucket.limit in step[0]]
        decision = await shared.take(*charged, cost=step[1])
        stored = {bucket: await full_at_us(shared, bucket) for bucket in charged}
        if (full_at := stored[decision.bucket]) is None:  # units were given back until the bucket was full
            assert decision.allowed
            assert step[1] < 0
            expected.update({bucket: at or 0 for bucket, at in stored.items()})
            continue
        now_us = full_at - decision.full_in_us
        judged = judge(charged, [expected[bucket] for bucket in charged], step[1], now_us)
        assert decision == tightest(judged)
        if decision.allowed:
            expected.update({one.bucket: now_us + one.full_in_us for one in judged})
        assert all(at in (expected[bucket], None) for bucket, at in stored.items())


async def test_a_refusal_charges_none_of_the_buckets(shared: SharedBuckets, fresh: str) -> None:
    wide, narrow = Bucket(f"wide:{fresh}", Limit("wide", 10)), Bucket(f"narrow:{fresh}", Limit("narrow", 2))
    decisions = [await shared.take(wide, narrow) for _ in range(5)]
    assert [one.allowed for one in decisions] == [True, True, False, False, False]
    assert {one.bucket for one in decisions} == {narrow}
    assert [one.remaining for one in decisions] == [1, 0, 0, 0, 0]
    assert (await shared.take(wide)).remaining == 7


async def test_the_tightest_bucket_is_the_one_with_the_least_left_or_the_longest_wait(
    shared: SharedBuckets, fresh: str
) -> None:
    slow, fast = Bucket(f"slow:{fresh}", Limit("slow", 3)), Bucket(f"fast:{fresh}", Limit("fast", 2, window_s=60))
    assert (await shared.take(slow, fast)).bucket == fast
    for _ in range(2):
        await shared.take(slow)
    await shared.take(fast)
    refused = await shared.take(slow, fast)
    assert (refused.bucket, refused.retry_after_s) == (slow, 1200)


async def test_limits_hold_over_replicas_and_for_several_buckets_at_once(
    servers: Servers, shared: SharedBuckets, fresh: str
) -> None:
    tenant = Bucket(f"tenant:{fresh}", Limit("tenant", 30))
    people = [Bucket(f"person:{fresh}:{name}", Limit("person", 20)) for name in ("ann", "bob")]
    async with connected(await servers.valkey_url()) as other:
        calls = (replica.take(tenant, person) for _ in range(20) for replica in (shared, other) for person in people)
        decisions = await asyncio.gather(*calls)
    assert Counter(one.allowed for one in decisions) == {True: 30, False: 50}
    left = [(await shared.take(person, cost=0)).remaining for person in people]
    assert sum(left) == 10


async def test_several_buckets_are_one_command(shared: SharedBuckets, fresh: str) -> None:
    async def commands() -> int:
        statistics: bytes = await shared.connection.call("INFO", "stats")
        return int(statistics.split(b"total_commands_processed:")[1].split()[0])

    before = await commands()
    await shared.take(*(Bucket(f"{number}:{fresh}", Limit("any", 5)) for number in range(5)))
    inside = 1 + 5 + 5  # what the script itself calls: the time, and each bucket read and written
    assert await commands() - before == 1 + 1 + inside


async def test_units_are_charged_together_and_given_back(shared: SharedBuckets, fresh: str) -> None:
    bucket = Bucket(fresh, Limit("jobs", 10))
    costs = (7, 4, 3, 1, -2, 3, 2, -100, 10)
    decisions = [await shared.take(bucket, cost=cost) for cost in costs]
    assert [one.remaining for one in decisions] == [3, 3, 0, 0, 2, 2, 0, 10, 0]
    assert [one.allowed for one in decisions] == [True, False, True, False, True, False, True, True, True]


async def test_a_bucket_is_kept_until_it_is_full(shared: SharedBuckets, fresh: str) -> None:
    decision = await shared.take(Bucket(fresh, Limit("jobs", 10)), cost=5)
    kept_ms = await shared.connection.call("PTTL", f"limit:{fresh}")
    assert decision.reset_s == 1800
    assert 0 <= 1_800_002 - kept_ms < 1000


async def test_a_caller_who_waits_for_retry_after_is_allowed_once(shared: SharedBuckets, fresh: str) -> None:
    bucket = Bucket(fresh, Limit("free", 100))
    while (refused := await shared.take(bucket)).allowed:
        pass
    assert 35 <= refused.retry_after_s <= 36
    await let_pass(shared, bucket, (refused.retry_after_s - 1) * 1_000_000)
    assert not (await shared.take(bucket)).allowed
    await let_pass(shared, bucket, 1_000_000)
    assert [(await shared.take(bucket)).allowed for _ in range(2)] == [True, False]


async def test_a_flushed_cache_loses_the_counts_and_nothing_else(shared: SharedBuckets, fresh: str) -> None:
    bucket = Bucket(fresh, Limit("free", 5))
    assert [(await shared.take(bucket)).remaining for _ in range(3)] == [4, 3, 2]
    await shared.connection.call("FLUSHALL")
    await shared.connection.call("SCRIPT", "FLUSH")
    assert (await shared.take(bucket)).remaining == 4


async def test_without_the_cache_each_replica_grants_its_share() -> None:
    limiter, limit = Limiter(None, replicas=4), Limit("free", 100)
    decisions = [await limiter.take(Bucket("ann", limit)) for _ in range(30)]
    assert sum(one.allowed for one in decisions) == 25
    assert decisions[0].bucket.limit.quota == 25
    assert Limit("messages", 20, window_s=1, burst=40).share(4) == Limit("messages", 5, window_s=1, burst=10)
    assert Limit("few", 2).share(4).quota == 1


def test_a_bucket_refills_evenly() -> None:
    now_us, interval_us = 0, 36_000_000
    buckets, ann = LocalBuckets(lambda: now_us), Bucket("ann", Limit("free", 100))

    def allowed_of(requests: int) -> int:
        return sum(buckets.take(ann).allowed for _ in range(requests))

    assert allowed_of(150) == 100
    now_us = interval_us - 1
    assert buckets.take(ann).wait_us == 1
    now_us = interval_us
    assert allowed_of(2) == 1
    now_us = interval_us * 51
    assert allowed_of(150) == 50
    assert buckets.take(Bucket("bob", ann.limit)) == Decision(Bucket("bob", ann.limit), interval_us, 0)


def test_a_burst_may_be_other_than_the_quota() -> None:
    buckets, ann = LocalBuckets(lambda: 0), Bucket("ann", Limit("messages", 20, window_s=1, burst=40))
    assert [buckets.take(ann).allowed for _ in range(41)] == [True] * 40 + [False]
    assert buckets.take(ann).wait_us == 50_000


def test_the_least_recently_used_local_buckets_are_dropped() -> None:
    buckets, limit = LocalBuckets(lambda: 0), Limit("free", 5)
    for name in ("ann", "bob", "ann"):
        buckets.take(Bucket(name, limit))
    for number in range(49_999):
        buckets.take(Bucket(f"{number}", limit))
    assert buckets.take(Bucket("ann", limit)).remaining == 2
    assert buckets.take(Bucket("bob", limit)).remaining == 4


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_client_counts_by_its_64_bit_network(address: str, network: str) -> None:
    assert client_network(address) == network
