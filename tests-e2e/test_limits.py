"""A limit is exact over both gateways, and while the cache is away each admits its share."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import harm
import httpx2
from people import Person, Town

from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

FREE = 100  # requests an hour and person
REFILL_S = 36  # in which one of them comes back
BURST = 400
COUNTED = "/api/v1/job-kinds"


async def test_a_limit_is_exact_over_two_gateways(town: Town) -> None:
    ann = await town.founder(tier="free")
    replies = await burst(await town.member(ann))
    assert_exact(replies)
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert refused.json()["code"] == "too_many_requests"
    assert refused.headers["ratelimit-policy"] == f'"free";q={FREE};w=3600'
    assert refused.headers["ratelimit"].startswith('"free";r=0;t=')
    assert (refused.headers["x-ratelimit-limit"], refused.headers["x-ratelimit-remaining"]) == (str(FREE), "0")
    assert refused.headers["x-ratelimit-tier"] == "free"
    left = [int(reply.headers["x-ratelimit-remaining"]) for reply in replies if reply.status_code == 200]
    assert sorted(left) == list(range(FREE))


async def test_each_gateway_admits_its_share_while_the_cache_is_away(fleet: Fleet, town: Town) -> None:
    ann = await town.founder(tier="free")
    bob, cy = await town.member(ann), await town.member(ann)
    gateways = len(town.urls)
    async with harm.without(fleet, "valkey"):
        replies = await burst(bob)
        assert Counter(reply.status_code for reply in replies) == {200: FREE, 429: BURST - FREE}
        admitted = Counter(reply.request.url.port for reply in replies if reply.status_code == 200)
        assert set(admitted.values()) == {FREE // gateways}
        assert {reply.headers["x-ratelimit-limit"] for reply in replies} == {str(FREE // gateways)}
        assert all(int(reply.headers["retry-after"]) > 0 for reply in replies if reply.status_code == 429)

    await eventually(lambda: is_shared(ann), within_s=20, saying="both gateways count in the cache again")
    assert_exact(await burst(cy))


async def burst(person: Person) -> Sequence[httpx2.Response]:
    """400 requests at once, half of them at each gateway."""
    async with (
        httpx2.AsyncClient(timeout=30, limits=httpx2.Limits(max_connections=BURST)) as http,
        asyncio.timeout(REFILL_S - 1),
    ):
        urls = person.town.urls
        asked = [http.get(urls[number % len(urls)] + COUNTED, headers=person.headers) for number in range(BURST)]
        return await asyncio.gather(*asked)


def assert_exact(replies: Sequence[httpx2.Response]) -> None:
    assert Counter(reply.status_code for reply in replies) == {200: FREE, 429: BURST - FREE}
    assert all(0 < int(reply.headers["retry-after"]) <= REFILL_S for reply in replies if reply.status_code == 429)


async def is_shared(person: Person) -> bool:
    """Whether the gateways name the whole limit, no matter whether they admit."""
    replies = [await person.at(gateway).get(COUNTED, None) for gateway in range(len(person.town.urls))]
    return {reply.headers["x-ratelimit-limit"] for reply in replies} == {str(FREE)}
