"""Limits: exact over gateways, stated while the cache is away, said in headers."""

import asyncio
import time
from collections import Counter
from typing import Any

import httpx2
import jwt

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


async def test_who_guesses_tickets_is_refused_before_auth_service_is_asked(open_edge: Any, auth: Any) -> None:
    edge = await open_edge(limits={"scale": 1, "anonymous": 5})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        guesses = (client.get(f"{CONTENT if n % 2 else EVENTS}?ticket={n}") for n in range(40))
        replies = await asyncio.gather(*guesses)
    assert Counter(reply.status_code for reply in replies) == {401: 5, 429: 35}
    assert len(auth.redeemed) == 5
    assert all(reply.headers["x-ratelimit-tier"] == "anonymous" for reply in replies)


async def test_a_good_ticket_counts_against_its_person_alone(open_edge: Any, sign_in: Any, auth: Any) -> None:
    edge = await open_edge(limits={"scale": 1, "anonymous": 1})
    claims = jwt.decode(sign_in.token(sign_in.principal("ann", tier="free")), options={"verify_signature": False})
    auth.tickets[("good", CONTENT)] = claims
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        replies = [await client.get(f"{CONTENT}?ticket=good") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200, 200, 200]
        assert [reply.headers["x-ratelimit-remaining"] for reply in replies] == ["99", "98", "97"]
        assert (await client.post("/auth/login", json={})).status_code == 200
        assert (await client.get(f"{CONTENT}?ticket=good")).status_code == 429  # the address is used up


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
        writer.write(b"$2\r\nok\r\n")  # the script is loaded; every later command is ignored
        while await reader.read(65536):
            pass

    url = await raw_upstream(silent)
    edge = await open_edge(redis_url=url.replace("http", "redis"), limits=REAL)
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        replies = await asyncio.gather(*(client.get(SIGNED, headers=sign_in("ann", tier="free")) for _ in range(20)))
    assert {reply.status_code for reply in replies} == {200}
