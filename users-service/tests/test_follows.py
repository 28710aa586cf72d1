"""Follows: who follows whom, the counts, and the notifications of followers."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import insert, update

from shared.data.database import Database
from shared.ids import new_id
from shared.testing import People, eventually
from users_service.activity.handlers import PostPublished
from users_service.follows.handlers import handlers
from users_service.follows.models import Follow
from users_service.tenants.models import Person

from .calls import Published, Register

pytestmark = pytest.mark.usefixtures("acme")

POST = {"title": "Boats of May", "content": "Three of them leaked.", "status": "published"}


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann", roles=["admin"])


@pytest.fixture
def bob(as_user: People) -> dict[str, str]:
    return as_user("bob")


def of(as_user: People, name: str, what: str) -> str:
    return f"/api/v1/users/{as_user.id(name)}/{what}"


async def test_a_person_is_followed_and_no_longer(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str], bob: dict[str, str]
) -> None:
    named = await client.patch("/api/v1/profile", json={"full_name": "Bob Fox"}, headers=bob)
    assert named.status_code == 200
    for _ in range(2):
        reply = await client.put(of(as_user, "ann", "follow"), headers=bob)
        assert (reply.status_code, reply.content) == (204, b"")
    [follower] = (await client.get(of(as_user, "ann", "followers"), headers=ann)).json()["items"]
    assert follower.pop("since")
    assert follower == {"id": str(as_user.id("bob")), "username": "bob", "full_name": "Bob Fox"}
    [followed] = (await client.get(of(as_user, "bob", "following"), headers=ann)).json()["items"]
    assert followed["username"] == "ann"
    for who, what in (("bob", "followers"), ("ann", "following")):
        assert (await client.get(of(as_user, who, what), headers=ann)).json()["items"] == []
    for _ in range(2):
        assert (await client.delete(of(as_user, "ann", "follow"), headers=bob)).status_code == 204
    assert (await client.get(of(as_user, "ann", "followers"), headers=ann)).json()["items"] == []


async def test_who_cannot_be_followed(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str], bob: dict[str, str], globex: None
) -> None:
    """Oneself, people of other tenants, and those who were only invited."""
    own = await client.put(of(as_user, "bob", "follow"), headers=bob)
    assert (own.status_code, own.json()["errors"][0]["code"]) == (422, "own_id")
    invited = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('gil')}"
    for path in (of(as_user, "gil", "follow"), f"/api/v1/users/{new_id()}/follow"):
        for method in ("PUT", "DELETE"):
            reply = await client.request(method, path, headers=bob)
            assert (reply.status_code, reply.json()["code"]) == (404, "user_not_found")
    assert (await client.put(invited, json={"roles": ["user"]}, headers=ann)).status_code == 201
    assert (await client.put(of(as_user, "gil", "follow"), headers=bob)).status_code == 404
    for what in ("followers", "following", "stats"):
        assert (await client.get(of(as_user, "gil", what), headers=bob)).status_code == 404


@pytest.mark.parametrize(
    ("method", "what", "scope"),
    [
        *[("PUT", "follow", "user:read"), ("DELETE", "follow", "user:read")],
        *[
            ("GET", "followers", "profile:write"),
            ("GET", "following", "profile:write"),
            ("GET", "stats", "profile:write"),
        ],
    ],
)
async def test_without_the_scope_it_is_refused(
    client: httpx2.AsyncClient, as_user: People, method: str, what: str, scope: str
) -> None:
    headers = as_user("bob", scopes=[scope])
    reply = await client.request(method, f"/api/v1/users/{new_id()}/{what}", headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")


async def test_a_membership_takes_its_follows_along(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str], bob: dict[str, str], register: Register
) -> None:
    """In both directions, and a membership that is resumed begins without."""
    await register("cy")
    cy = as_user("cy")
    for headers, who in ((bob, "cy"), (cy, "bob"), (cy, "ann"), (bob, "ann")):
        assert (await client.put(of(as_user, who, "follow"), headers=headers)).status_code == 204
    member = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('cy')}"
    assert (await client.delete(member, headers=ann)).status_code == 204
    assert (await client.put(of(as_user, "ann", "follow"), headers=cy)).status_code == 401
    followers = (await client.get(of(as_user, "ann", "followers"), headers=ann)).json()["items"]
    assert [one["username"] for one in followers] == ["bob"]
    stats = (await client.get(of(as_user, "bob", "stats"), headers=ann)).json()
    assert (stats["followers_count"], stats["following_count"]) == (0, 1)
    assert (await client.put(member, json={"roles": ["user"]}, headers=ann)).status_code == 201
    followers = (await client.get(of(as_user, "ann", "followers"), headers=ann)).json()["items"]
    assert [one["username"] for one in followers] == ["bob"]


async def test_a_follow_does_not_outlast_a_membership_that_ends_meanwhile(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str], bob: dict[str, str], register: Register
) -> None:
    await register("cy")
    member = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('cy')}"
    ended, *followed = await asyncio.gather(
        client.delete(member, headers=ann),
        *(client.put(of(as_user, "cy", "follow"), headers=bob) for _ in range(5)),
    )
    assert ended.status_code == 204
    assert {reply.status_code for reply in followed} <= {204, 404}
    assert (await client.get(of(as_user, "bob", "following"), headers=ann)).json()["items"] == []


async def test_followers_are_listed_page_by_page(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str], register: Register
) -> None:
    names = [f"fan{number}" for number in range(5)]
    for name in names:
        await register(name)
        assert (await client.put(of(as_user, "ann", "follow"), headers=as_user(name))).status_code == 204
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"{of(as_user, 'ann', 'followers')}?limit=2{cursor}", headers=ann)).json()
        seen += [one["username"] for one in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert seen == names[::-1]
    first = (await client.get(f"{of(as_user, 'ann', 'followers')}?limit=2", headers=ann)).json()["next_cursor"]
    for path in (of(as_user, "ann", "following"), of(as_user, "fan1", "followers")):
        assert (await client.get(f"{path}?limit=2&cursor={first}", headers=ann)).status_code == 422
    for asked in ("page=1", "sort=username", "limit=201", "x=1"):
        assert (await client.get(f"{of(as_user, 'ann', 'followers')}?{asked}", headers=ann)).status_code == 422


async def test_stats_count_what_a_member_made(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str], bob: dict[str, str], database: Database
) -> None:
    for status in ("published", "published", "draft"):
        assert (await client.post("/api/v1/posts", json=POST | {"status": status}, headers=bob)).status_code == 201
    assert (await client.post("/api/v1/files", files={"file": ("a.txt", b"a")}, headers=bob)).status_code == 201
    assert (await client.put(of(as_user, "bob", "follow"), headers=ann)).status_code == 204
    async with database.transaction() as db:
        older = Person.created_at - timedelta(days=9, hours=23)
        await db.execute(update(Person).where(Person.user_id == as_user.id("bob")).values(created_at=older))
    stats = (await client.get(of(as_user, "bob", "stats"), headers=ann)).json()
    user = (await client.get(f"/api/v1/users/{as_user.id('bob')}", headers=ann)).json()
    assert stats == {
        "user": user,
        "posts_count": 2,
        "files_count": 1,
        "followers_count": 1,
        "following_count": 0,
        "account_age_days": 9,
    }


async def test_followers_are_asked_to_be_notified(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str], bob: dict[str, str], published: Published
) -> None:
    """From the commit through the bus: publishing itself does not wait for it."""
    assert (await client.put(of(as_user, "bob", "follow"), headers=ann)).status_code == 204
    post = (await client.post("/api/v1/posts", json=POST, headers=bob)).json()

    async def asked() -> Any:
        return await published("notification.")

    [event] = await eventually(asked) or []
    occasion = event.data.pop("occasion_id")
    assert event.data == {
        "user_ids": [str(as_user.id("ann"))],
        "kind": "post.published",
        "data": {"post_id": post["id"], "author_id": str(as_user.id("bob"))},
    }
    [source] = await published("post.published")
    assert (occasion, str(event.subject), event.tenant_id) == (str(source.id), post["id"], as_user.tenant_id("acme"))


async def _handle(database: Database, tenant_id: UUID, post: UUID, author: UUID) -> None:
    handler = handlers.get("post.published.v1")
    assert handler is not None
    event = PostPublished.model_validate(
        {
            "id": new_id(),
            "subject": post,
            "tenant_id": tenant_id,
            "subject_version": 1,
            "time": "2026-11-27T12:00:00Z",
            "author_id": author,
        }
    )
    async with database.transaction(tenant_id) as db:
        await handler.handle(db, event)


async def test_many_followers_are_named_in_several_events(
    client: httpx2.AsyncClient, as_user: People, bob: dict[str, str], database: Database, published: Published
) -> None:
    draft = (await client.post("/api/v1/posts", json=POST | {"status": "draft"}, headers=bob)).json()
    tenant_id, bob_id = as_user.tenant_id("acme"), as_user.id("bob")
    fans = sorted(new_id() for _ in range(1001))
    async with database.transaction(tenant_id) as db:
        await db.execute(
            insert(Follow),
            [{"tenant_id": tenant_id, "follower_id": fan, "followed_id": bob_id} for fan in fans],
        )
    await _handle(database, tenant_id, UUID(draft["id"]), bob_id)
    assert await published("notification.") == []  # a draft again, before anyone was notified
    path = f"/api/v1/posts/{draft['id']}"
    assert (await client.patch(path, json={"status": "published"}, headers=bob)).status_code == 200

    async def all_asked() -> Any:
        events = await published("notification.")
        return events if sum(len(event.data["user_ids"]) for event in events) == len(fans) else None

    events = await eventually(all_asked) or []
    assert [len(event.data["user_ids"]) for event in events] == [500, 500, 1]
    assert sorted(user_id for event in events for user_id in event.data["user_ids"]) == [str(fan) for fan in fans]
    assert len({event.data["occasion_id"] for event in events}) == 1


async def test_an_author_is_notified_of_a_removal(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str], bob: dict[str, str], published: Published
) -> None:
    """Not of one that they made themselves, nor once they have left."""
    posts = [(await client.post("/api/v1/posts", json=POST, headers=bob)).json()["id"] for _ in range(3)]
    reason = {"reason": "Advertising"}
    assert (await client.delete(f"/api/v1/posts/{posts[0]}", headers=bob)).status_code == 204
    assert (await client.delete(f"/api/v1/posts/{posts[1]}", params=reason, headers=ann)).status_code == 204
    member = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('bob')}"
    assert (await client.delete(member, headers=ann)).status_code == 204
    assert (await client.delete(f"/api/v1/posts/{posts[2]}", params=reason, headers=ann)).status_code == 204
    [event] = await published("notification.")
    asked = (event.data["user_ids"], event.data["kind"], event.data["data"])
    assert asked == ([str(as_user.id("bob"))], "post.removed", {"post_id": posts[1]})
