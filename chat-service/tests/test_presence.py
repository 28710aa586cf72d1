"""Who is here, over two replicas."""

import httpx2

from .conftest import MakeRoom, Members, Talking


async def present(client: httpx2.AsyncClient, room: str, headers: dict[str, str]) -> list[str]:
    reply = await client.get(f"/api/v1/presence?room_id={room}", headers=headers)
    assert reply.status_code == 200, reply.text
    return [user["username"] for user in reply.json()["users"]]


async def test_who_comes_and_goes_is_told_on_both_replicas(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom, connected: Talking, second_url: str
) -> None:
    room = await make_room("ann", "bob", "cy")
    async with connected("ann") as ann, connected("cy", at=second_url) as cy:
        await ann.subscribe(room)
        await cy.subscribe(room)
        assert (await ann.expect("user_joined"))["user"]["username"] == "cy"
        async with connected("bob", at=second_url) as bob:
            await bob.subscribe(room)
            for one in (ann, cy):
                joined = await one.expect("user_joined")
                assert joined["user"] == {"id": str(members.id("bob")), "username": "bob"}
            await bob.say("get_users", room_id=room, ref="who")
            users = (await bob.expect("active_users", ref="who"))["users"]
            assert [user["username"] for user in users] == ["ann", "bob", "cy"]
            assert await present(client, room, members("ann")) == ["ann", "bob", "cy"]
        for one in (ann, cy):
            assert (await one.expect("user_left"))["user"]["username"] == "bob"
        assert [f for f in ann.heard if f["type"].startswith("user_")] == []  # nobody is told of themselves
        assert await present(client, room, members("ann")) == ["ann", "cy"]


async def test_a_reload_does_not_flap(
    connected: Talking, make_room: MakeRoom, members: Members, second_url: str
) -> None:
    room = await make_room("ann", "bob", "cy")
    async with connected("ann") as ann:
        await ann.subscribe(room)
        async with connected("bob") as bob, connected("cy") as cy:
            await bob.subscribe(room)
            await cy.subscribe(room)
            for name in ("bob", "cy"):
                await ann.expect("user_joined", user={"id": str(members.id(name)), "username": name})
        async with connected("bob", at=second_url) as bob:
            await bob.subscribe(room)
            assert (await ann.expect("user_left"))["user"]["username"] == "cy"  # who closed with bob, and stayed away
            assert [f for f in ann.heard if f["type"].startswith("user_")] == []


async def test_a_second_device_is_the_same_person(
    client: httpx2.AsyncClient, members: Members, connected: Talking, make_room: MakeRoom
) -> None:
    room = await make_room("ann", "bob")
    async with connected("ann") as ann, connected("bob") as phone:
        await ann.subscribe(room)
        await phone.subscribe(room)
        await ann.expect("user_joined")
        async with connected("bob") as laptop:
            await laptop.subscribe(room)
            assert await present(client, room, members("ann")) == ["ann", "bob"]
        await phone.say("unsubscribe", room_id=room)
        assert (await phone.expect("unsubscribed"))["reason"] == "asked"
        assert (await ann.expect("user_left"))["user"]["username"] == "bob"


async def test_a_private_rooms_presence_is_its_members(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom
) -> None:
    room = await make_room("ann")
    reply = await client.get(f"/api/v1/presence?room_id={room}", headers=members("bob"))
    assert reply.status_code == 404
