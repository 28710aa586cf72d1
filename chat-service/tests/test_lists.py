"""Every list of the service has the grammar of lists."""

from uuid import UUID, uuid4

import httpx2
from fastapi import FastAPI

from chat_service.notifications.models import Notification
from shared.data.database import Database
from shared.ids import new_id
from shared.testing import People
from shared.testing.fakes import FakeUsers
from shared.testing.lists import check_cursors, check_lists

from .conftest import MakeRoom, Members


async def test_every_list_has_the_grammar_of_lists(client: httpx2.AsyncClient, app: FastAPI, as_user: People) -> None:
    await check_lists(client, app, as_user("ann", roles=["admin"]), as_user.tenant_id("acme"))


async def test_a_cursor_is_for_one_list_only(
    client: httpx2.AsyncClient,
    members: Members,
    as_user: People,
    users: FakeUsers,
    make_room: MakeRoom,
    database: Database,
) -> None:
    full, other = [await make_room("ann", kind="private") for _ in range(2)]

    async def room() -> None:
        await make_room("ann", kind="private")

    async def member_of(room_id: str) -> None:
        name = f"person{uuid4().hex[:8]}"
        users.add_member(members.slug, members.id(name), roles=["user"], username=name)
        path = f"/api/v1/rooms/{room_id}/members/{members.id(name)}"
        assert (await client.put(path, headers=members("ann"))).status_code == 201

    numbers = iter(range(1, 1000))

    async def notification() -> None:
        async with database.transaction(members.tenant_id) as db:
            db.add(_notification(members, next(numbers)))

    lists = {
        "/api/v1/rooms": room,
        f"/api/v1/rooms/{full}/members": lambda: member_of(full),
        f"/api/v1/rooms/{other}/members": lambda: member_of(other),
        "/api/v1/notifications": notification,
    }
    await check_cursors(client, members("ann"), lists, as_user("gil", tenant="globex"))


def _notification(members: Members, seq: int) -> Notification:
    user_id: UUID = members.id("ann")
    return Notification(
        tenant_id=members.tenant_id, user_id=user_id, id=new_id(), seq=seq, kind="job.completed", title="Done", body="",
        data={"job_id": str(uuid4())},
    )  # fmt: skip
