"""Figures of a tenant, from its rows, as far as the caller's scopes reach."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import insert, text

from shared.data.database import Database
from shared.ids import new_id
from shared.testing import People
from users_service.activity.models import Activity

from .calls import Register

pytestmark = pytest.mark.usefixtures("acme")

ANALYTICS, DASHBOARD = "/api/v1/analytics", "/api/v1/admin/dashboard"


@pytest.fixture
async def content(client: httpx2.AsyncClient, as_user: People, database: Database, globex: None) -> None:
    """Three posts (one a draft, one of 40 days ago) and two files; and a post and a file of another tenant."""
    bob, ann, gil = as_user("bob"), as_user("ann"), as_user("gil", tenant="globex")
    old = None
    for headers, title, status in (
        *((bob, "old", "published"), (bob, "draft", "draft"), (ann, "new", "published")),
        (gil, "other", "published"),
    ):
        body = {"title": title, "content": "Text", "status": status}
        reply = await client.post("/api/v1/posts", json=body, headers=headers)
        assert reply.status_code == 201
        old = old or reply.json()["id"]
    for headers, name, data in ((bob, "a.csv", b"a\n1\n"), (bob, "b.txt", b"text"), (gil, "c.txt", b"text")):
        reply = await client.post("/api/v1/files", files={"file": (name, data)}, headers=headers)
        assert reply.status_code == 201
    async with database.transaction(as_user.tenant_id("acme")) as db:
        before = "UPDATE posts SET published_at = published_at - interval '40 days' WHERE id = CAST(:id AS uuid)"
        await db.execute(text(before), {"id": old})
        seen = {
            "tenant_id": as_user.tenant_id("acme"), "id": new_id(), "user_id": as_user.id("zoe"),
            "type": "job.completed", "subject_id": new_id(), "data": {},
            "created_at": datetime.now(UTC) - timedelta(days=3),
        }  # fmt: skip
        await db.execute(insert(Activity), [seen])


async def read(client: httpx2.AsyncClient, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    reply = await client.get(f"{ANALYTICS}{query}", headers=headers)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_the_scopes_decide_how_much_is_shown(client: httpx2.AsyncClient, as_user: People, content: None) -> None:
    shown = {
        role: [part for part in ("basic", "detailed", "sensitive") if found[part] is not None]
        for role in ("user", "analyst", "admin")
        if (found := await read(client, as_user("ann", roles=[role])))
    }
    assert shown == {
        "user": ["basic"],
        "analyst": ["basic", "detailed"],
        "admin": ["basic", "detailed", "sensitive"],
    }


async def test_figures_count_the_tenants_rows(client: httpx2.AsyncClient, as_user: People, content: None) -> None:
    found = await read(client, as_user("ann", roles=["admin"]))
    basic, detailed = found["basic"], found["detailed"]
    assert (basic["users"], basic["posts"], basic["files"]) == (2, 1, 2)
    assert basic["active_users"] >= 1
    assert len(detailed["by_day"]) == 30
    today = detailed["by_day"][-1]
    assert (today["posts"], today["files"]) == (1, 2)
    assert detailed["by_day"][-4]["active_users"] == 1
    assert detailed["top_authors"] == [{"id": str(as_user.id("ann")), "username": "ann", "posts": 1}]
    assert sorted((one["content_type"], one["count"], one["bytes"]) for one in detailed["storage_by_type"]) == [
        ("text/csv", 1, 4),
        ("text/plain", 1, 4),
    ]
    [person] = found["sensitive"]["people"]
    assert (person["id"], person["storage_bytes"]) == (str(as_user.id("bob")), 8)


async def test_a_period_is_chosen(client: httpx2.AsyncClient, as_user: People, content: None) -> None:
    long_ago = (datetime.now(UTC) - timedelta(days=40)).date()
    found = await read(client, as_user("ann", roles=["admin"]), f"?from={long_ago}&to={long_ago}")
    assert (found["basic"]["posts"], found["basic"]["files"], len(found["detailed"]["by_day"])) == (1, 0, 1)


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("from=2026-02-30", "from"),
        ("from=2026-03-02&to=2026-03-01", "from"),
        ("from=2020-01-01&to=2026-01-01", "from"),
        ("to=0001-01-01", "from"),
        ("from=9999-12-31&to=9999-12-31", "from"),
        ("first=2026-01-01", "first"),
    ],
)
async def test_other_periods_are_refused(client: httpx2.AsyncClient, as_user: People, query: str, place: str) -> None:
    reply = await client.get(f"{ANALYTICS}?{query}", headers=as_user("ann"))
    [error] = reply.json()["errors"]
    assert (reply.status_code, error["parameter"]) == (422, place)


async def test_the_dashboard(client: httpx2.AsyncClient, as_user: People, register: Register, content: None) -> None:
    ann = as_user("ann", roles=["admin"])
    url = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('gil')}"
    assert (await client.put(url, json={"roles": ["user"]}, headers=ann)).status_code == 201
    body = {"subject_type": "user", "subject_id": str(as_user.id("bob")), "reason": "It advertises."}
    assert (await client.post("/api/v1/moderation/reports", json=body, headers=ann)).status_code == 201
    found = (await client.get(DASHBOARD, headers=ann)).json()
    assert found["users"] == {"total": 3, "active": 2, "invited": 1, "suspended": 0}
    assert (found["posts"], found["files"], found["reports_open"]) == (2, {"count": 2, "bytes": 8}, 1)
    assert len(found["new_users_by_day"]) == 30
    assert found["new_users_by_day"][-1]["count"] == 3


async def test_the_dashboard_is_for_admins(client: httpx2.AsyncClient, as_user: People) -> None:
    assert (await client.get(DASHBOARD, headers=as_user("bob"))).status_code == 403
