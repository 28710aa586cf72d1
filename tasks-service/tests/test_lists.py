"""Every list of the service has the grammar of lists."""

from typing import Any

import httpx2
from fastapi import FastAPI

from shared.testing import People
from shared.testing.lists import check_cursors, check_lists


async def test_every_list_has_the_grammar_of_lists(client: httpx2.AsyncClient, app: FastAPI, as_user: People) -> None:
    await check_lists(client, app, as_user("ann", roles=["admin"]), as_user.tenant_id("acme"))


async def test_a_cursor_is_for_one_list_only(client: httpx2.AsyncClient, as_user: People, jobs: Any) -> None:
    gil = as_user("gil", tenant="globex", roles=["admin"])
    await check_cursors(client, jobs.headers, {"/api/v1/jobs": jobs.wait}, gil)


async def test_the_kinds_are_walked_by_name(client: httpx2.AsyncClient, jobs: Any) -> None:
    whole = (await client.get("/api/v1/job-kinds", headers=jobs.headers)).json()["items"]
    page: dict[str, Any] = {"next_cursor": None}
    seen = []
    while len(seen) < len(whole):
        query = {"limit": 1} | ({"cursor": page["next_cursor"]} if page["next_cursor"] else {})
        page = (await client.get("/api/v1/job-kinds", params=query, headers=jobs.headers)).json()
        seen += page["items"]
    assert (seen, page["next_cursor"]) == (whole, None)
    job = await jobs.wait()
    await jobs.wait()
    other = (await client.get("/api/v1/jobs", params={"limit": 1}, headers=jobs.headers)).json()["next_cursor"]
    for cursor in (other, job["id"], "W10", "\u00e9"):
        refused = await client.get("/api/v1/job-kinds", params={"cursor": cursor}, headers=jobs.headers)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "invalid_cursor")
