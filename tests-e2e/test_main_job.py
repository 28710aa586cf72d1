"""The main job of the product, end to end, on either bus."""

import asyncio

import pytest
from people import Person, Town

from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

CSV = b"city,boats\nKiel,12\nBremen,7\nHusum,3\n"


async def test_the_main_job_on_valkey_streams(fleet: Fleet) -> None:
    async with Town.of(fleet) as town:
        await main_job(town)


async def test_the_main_job_on_rabbitmq(fleet_on_rabbitmq: Fleet) -> None:
    assert fleet_on_rabbitmq.backing.bus_url.startswith("amqp://")
    async with Town.of(fleet_on_rabbitmq) as town:
        await main_job(town)


async def main_job(town: Town) -> None:
    """From sign-up to a refused token, each person on another gateway."""
    ann = await town.founder()
    bob = (await town.member(ann)).at(1)

    profile = await ann.get("/api/v1/profile")
    changed = await ann.call(
        "PATCH", "/api/v1/profile", 200, json={"full_name": "Ann Lee"}, headers={"If-Match": profile.headers["etag"]}
    )
    assert (await ann.at(1).get("/api/v1/profile")).json() == changed.json()

    room = await ann.room("private")
    await ann.call("PUT", f"/api/v1/rooms/{room}/members/{bob.id}", 201)
    async with ann.socket() as anns, bob.socket() as bobs:
        await asyncio.gather(anns.subscribe(room), bobs.subscribe(room))
        for number in range(5):
            await anns.say(room, f"ann {number}")
            await bobs.say(room, f"bob {number}")
        await asyncio.gather(anns.next("message", text="bob 4"), bobs.next("message", text="bob 4"))
        assert anns.messages(room) == bobs.messages(room)
        assert [seq for seq, _ in anns.messages(room)] == list(range(1, 11))

        file = await ann.upload("boats.csv", CSV)
        job = await ann.start_job("file_processing", file_id=file["id"], operation="csv_profile")
        seen = await watched(ann.at(1), job)
        assert seen[-1] == "completed"
        notification = await anns.next("notification", kind="job.completed")
        assert notification["data"]["job_id"] == job
        result = (await ann.get(f"/api/v1/jobs/{job}/result")).json()["result"]
        assert (result["rows"], [column["name"] for column in result["columns"]]) == (3, ["city", "boats"])

        unread = (await ann.get("/api/v1/notifications?unread=true")).json()["items"]
        assert [one["id"] for one in unread] == [notification["id"]]
        await ann.post(f"/api/v1/notifications/{notification['id']}/read", 204)
        assert (await ann.get("/api/v1/notifications?unread=true")).json()["items"] == []

        await ann.post("/auth/logout", 204)
        await eventually(ann.refused, within_s=2, saying="the token is refused at both gateways")
        assert await anns.closed(within_s=2) == 4001
        await bobs.say(room, "she left")
    assert (await town.refresh(ann.tokens["refresh_token"])).status_code == 401


async def watched(person: Person, job_id: str) -> list[str]:
    """The names of the job's events as they stream, to the last."""
    url = f"{person.town.urls[person.gateway]}/api/v1/jobs/{job_id}/events"
    async with person.town.http.stream("GET", url, headers=person.headers) as stream:
        assert stream.status_code == 200, await stream.aread()
        return [line.removeprefix("event: ") async for line in stream.aiter_lines() if line.startswith("event: ")]


@pytest.mark.parametrize("gateway", [0, 1])
async def test_an_unknown_path_is_a_problem(town: Town, gateway: int) -> None:
    reply = await town.http.get(f"{town.urls[gateway]}/api/v1/nothing")
    assert (reply.status_code, reply.headers["content-type"]) == (404, "application/problem+json")
    page = await town.http.get(f"{town.urls[gateway]}{reply.json()['type']}", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert reply.json()["code"] in page.text
