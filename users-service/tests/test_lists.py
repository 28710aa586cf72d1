"""Every list of the service has the grammar of lists."""

from itertools import count

import httpx2
from fastapi import FastAPI

from shared.testing import People
from shared.testing.lists import check_cursors, check_lists

from .calls import Register


async def test_every_list_has_the_grammar_of_lists(client: httpx2.AsyncClient, app: FastAPI, as_user: People) -> None:
    await check_lists(client, app, as_user("ann", roles=["admin"]), as_user.tenant_id("acme"))


async def test_a_cursor_is_for_one_list_only(
    client: httpx2.AsyncClient, as_user: People, register: Register, operator: dict[str, str], globex: None
) -> None:
    await register("ann", tenant="acme")
    ann, numbers = as_user("ann", roles=["admin"]), count()

    async def member() -> None:
        await register(f"person{next(numbers)}")

    async def file() -> None:
        reply = await client.post("/api/v1/files", files={"file": ("a.txt", b"a")}, headers=ann)
        assert reply.status_code == 201, reply.text

    async def tenant() -> None:
        number = next(numbers)
        await register(f"founder{number}", tenant=f"tenant{number}")

    members = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members"
    gil = as_user("gil", tenant="globex", roles=["admin"])
    await check_cursors(client, ann, {"/api/v1/files": file, members: member, "/api/v1/users": member}, gil)
    await check_cursors(client, operator, {"/api/v1/tenants": tenant}, gil)
