"""Posts: writing, reading, changing and removing them."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from shared.data.database import Database
from shared.testing import People
from users_service.posts.models import PostRemoval, PostTag
from users_service.tenants.models import Membership

from .calls import Published, Register

pytestmark = pytest.mark.usefixtures("acme")

POSTS = "/api/v1/posts"
BOAT = {"title": "A new boat", "content": "She sails on Monday.", "tags": ["boats"], "status": "published"}

Write = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann", roles=["admin"])


@pytest.fixture
def bob(as_user: People) -> dict[str, str]:
    return as_user("bob")


@pytest.fixture
def write(client: httpx2.AsyncClient) -> Write:
    """`await write(bob, title="…")` writes a published post."""

    async def call(headers: dict[str, str], **fields: Any) -> dict[str, Any]:
        reply = await client.post(POSTS, json={**BOAT, **fields}, headers=headers)
        assert reply.status_code == 201, reply.text
        written: dict[str, Any] = reply.json()
        return written

    return call


async def test_a_post_is_written_and_read(
    client: httpx2.AsyncClient, as_user: People, bob: dict[str, str], ann: dict[str, str], published: Published
) -> None:
    reply = await client.post(POSTS, json=BOAT, headers=bob)
    post = reply.json()
    assert (reply.status_code, reply.headers["location"]) == (201, f"{POSTS}/{post['id']}")
    assert post["author"] == {"id": str(as_user.id("bob")), "username": "bob"}
    assert {name: post[name] for name in BOAT} == BOAT
    assert post["published_at"] is not None
    read = await client.get(f"{POSTS}/{post['id']}", headers=ann)
    assert (read.status_code, read.json(), read.headers["etag"]) == (200, post, reply.headers["etag"])
    [event] = await published("post.")
    assert (event.type, str(event.subject), "boat" in str(event.data)) == ("post.published.v1", post["id"], False)


async def test_a_draft_is_its_authors_until_it_is_published(
    client: httpx2.AsyncClient,
    bob: dict[str, str],
    register: Register,
    as_user: People,
    published: Published,
    write: Write,
) -> None:
    await register("cy")
    cy = as_user("cy")
    draft = await write(bob, status="draft")
    url = f"{POSTS}/{draft['id']}"
    assert draft["published_at"] is None
    assert (await client.get(url, headers=cy)).status_code == 404
    assert (await client.get(POSTS, headers=cy)).json()["items"] == []
    assert [post["id"] for post in (await client.get(POSTS, headers=bob)).json()["items"]] == [draft["id"]]
    assert (await client.get(url, headers=as_user("ann", roles=["admin"]))).status_code == 200
    for status in ("published", "draft", "published"):
        reply = await client.patch(url, json={"status": status}, headers=bob)
        assert (reply.status_code, reply.json()["status"]) == (200, status)
    assert (await client.get(url, headers=cy)).status_code == 200
    assert len(await published("post.published")) == 1  # followers hear of it once


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ([" Boats ", "boats", "BOATS"], ["boats"]),
        (["u\u0308ber", "\u00fcber"], ["\u00fcber"]),
        ([f"t{number}" for number in range(10)], [f"t{number}" for number in range(10)]),
        ([], []),
    ],
)
async def test_tags_have_one_form(
    bob: dict[str, str], write: Write, database: Database, as_user: People, sent: list[str], stored: list[str]
) -> None:
    post = await write(bob, tags=sent)
    assert post["tags"] == stored
    async with database.transaction(as_user.tenant_id("acme")) as db:
        assert sorted(await db.scalars(select(PostTag.tag))) == sorted(stored)


@pytest.mark.parametrize(
    ("fields", "place", "code"),
    [
        ({"title": ""}, "#/title", "visible_character"),
        ({"title": "two\nlines"}, "#/title", "one_line"),
        ({"title": "a\u202eb"}, "#/title", "reordering_characters"),
        ({"title": None}, "#/title", None),
        ({"content": " \u3164 "}, "#/content", "visible_character"),
        ({"content": 7}, "#/content", None),
        ({"tags": [f"t{number}" for number in range(11)]}, "#/tags", "too_many_tags"),
        ({"tags": ["x" * 41]}, "#/tags/0", None),
        ({"tags": "boats"}, "#/tags", None),
        ({"status": "removed"}, "#/status", None),
        ({"author_id": "ann"}, "#/author_id", None),
    ],
)
async def test_what_a_post_cannot_be_is_refused(
    client: httpx2.AsyncClient, bob: dict[str, str], fields: dict[str, Any], place: str, code: str | None
) -> None:
    reply = await client.post(POSTS, json={**BOAT, **fields}, headers=bob)
    [error] = reply.json()["errors"]
    assert (reply.status_code, error["pointer"]) == (422, place)
    assert code in (None, error["code"])


async def test_put_replaces_and_patch_changes(client: httpx2.AsyncClient, bob: dict[str, str], write: Write) -> None:
    post = await write(bob)
    url = f"{POSTS}/{post['id']}"
    changed = (await client.patch(url, json={"title": "An old boat"}, headers=bob)).json()
    assert (changed["title"], changed["content"], changed["tags"]) == ("An old boat", BOAT["content"], ["boats"])
    assert (await client.patch(url, json={"tags": None}, headers=bob)).json()["tags"] == []
    assert (await client.patch(url, json={"title": None}, headers=bob)).status_code == 422
    replaced = (await client.put(url, json={"title": "Other", "content": "Text"}, headers=bob)).json()
    assert (replaced["tags"], replaced["status"], replaced["created_at"]) == ([], "draft", post["created_at"])
    assert (await client.put(url, json={"title": "Other"}, headers=bob)).status_code == 422


async def test_a_write_can_be_conditional(client: httpx2.AsyncClient, bob: dict[str, str], write: Write) -> None:
    url = f"{POSTS}/{(await write(bob))['id']}"
    first = (await client.get(url, headers=bob)).headers["etag"]
    second = (await client.patch(url, json={"title": "B"}, headers=bob | {"If-Match": first})).headers["etag"]
    assert second != first
    for method in ("PATCH", "PUT", "DELETE"):
        body = None if method == "DELETE" else BOAT
        stale = await client.request(method, url, json=body, headers=bob | {"If-Match": first})
        assert stale.status_code == 412
    assert (await client.get(url, headers=bob | {"If-None-Match": second})).status_code == 304
    same = await client.patch(url, json={"title": "B"}, headers=bob)
    assert same.headers["etag"] == second  # nothing has changed


async def test_a_repeated_post_is_written_once(client: httpx2.AsyncClient, bob: dict[str, str]) -> None:
    keyed = bob | {"Idempotency-Key": "k-1"}
    first, second = [await client.post(POSTS, json=BOAT, headers=keyed) for _ in range(2)]
    assert (second.status_code, second.json(), second.headers["etag"]) == (201, first.json(), first.headers["etag"])
    assert len((await client.get(POSTS, headers=bob)).json()["items"]) == 1
    other = await client.post(POSTS, json={**BOAT, "title": "B"}, headers=keyed)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")


async def test_only_the_author_changes_a_post(
    client: httpx2.AsyncClient, bob: dict[str, str], ann: dict[str, str], write: Write
) -> None:
    url = f"{POSTS}/{(await write(bob))['id']}"
    reply = await client.patch(url, json={"title": "Mine"}, headers=ann)
    assert (reply.status_code, reply.json()["code"]) == (403, "not_the_author")
    assert (await client.put(url, json=BOAT, headers=ann)).status_code == 403
    assert (await client.delete(url, headers=bob)).status_code == 204
    assert (await client.get(url, headers=bob)).status_code == 404


async def test_a_moderator_removes_a_post_for_a_reason(
    client: httpx2.AsyncClient, bob: dict[str, str], as_user: People, register: Register, database: Database,
    published: Published, write: Write, ann: dict[str, str],
) -> None:  # fmt: skip
    await register("mo")
    await client.put(
        f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('mo')}",
        json={"roles": ["moderator"]},
        headers=ann,
    )
    mo, post = as_user("mo", roles=["moderator"]), await write(bob)
    url = f"{POSTS}/{post['id']}"
    assert (await client.delete(url, headers=mo)).status_code == 422
    assert (await client.delete(f"{url}?reason=x", headers=mo)).status_code == 422
    assert (await client.delete(f"{url}?reason=It%20is%20spam.&why=so", headers=mo)).status_code == 422
    assert (await client.get(url, headers=bob)).status_code == 200
    assert (await client.delete(f"{url}?reason=It%20is%20spam.", headers=mo)).status_code == 204
    async with database.transaction(as_user.tenant_id("acme")) as db:
        [removal] = await db.scalars(select(PostRemoval))
        assert list(await db.scalars(select(PostTag))) == []
    assert (removal.reason, removal.author_id, removal.removed_by) == (
        "It is spam.",
        as_user.id("bob"),
        as_user.id("mo"),
    )
    assert [event.type for event in await published("post.")] == ["post.published.v1", "post.removed.v1"]


async def test_a_member_removes_no_other_persons_post(
    client: httpx2.AsyncClient, bob: dict[str, str], as_user: People, register: Register, write: Write
) -> None:
    """Not even with a token from when they were a moderator: the membership as it is now decides."""
    await register("cy")
    url = f"{POSTS}/{(await write(bob))['id']}?reason=because"
    for roles in (["user"], ["moderator"]):
        reply = await client.delete(url, headers=as_user("cy", roles=roles))
        assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")


async def test_an_ended_membership_writes_nothing(
    client: httpx2.AsyncClient, bob: dict[str, str], as_user: People, database: Database, write: Write
) -> None:
    url = f"{POSTS}/{(await write(bob))['id']}"
    async with database.transaction(as_user.tenant_id("acme")) as db:
        membership = await db.get(Membership, (as_user.tenant_id("acme"), as_user.id("bob")))
        assert membership is not None
        membership.status = "ended"
    for method, body in (("POST", BOAT), ("PUT", BOAT), ("PATCH", {"title": "B"}), ("DELETE", None)):
        reply = await client.request(method, POSTS if method == "POST" else url, json=body, headers=bob)
        assert reply.status_code == 401, (method, reply.text)


async def test_another_tenants_posts_are_not_found(
    client: httpx2.AsyncClient, bob: dict[str, str], as_user: People, globex: None, write: Write
) -> None:
    gil, url = as_user("gil", tenant="globex", roles=["admin"]), f"{POSTS}/{(await write(bob))['id']}"
    assert (await client.get(POSTS, headers=gil)).json()["items"] == []
    for method, body in (("GET", None), ("PUT", BOAT), ("PATCH", {"title": "B"})):
        assert (await client.request(method, url, json=body, headers=gil)).status_code == 404
    assert (await client.delete(f"{url}?reason=because", headers=gil)).status_code == 404


@pytest.mark.parametrize(
    ("method", "scope"),
    [("GET", "posts:read"), ("POST", "posts:write"), ("PUT", "posts:write"), ("PATCH", "posts:write")],
)
async def test_each_operation_needs_its_scope(
    client: httpx2.AsyncClient, as_user: People, method: str, scope: str
) -> None:
    others = sorted({"posts:read", "posts:write", "posts:delete"} - {scope})
    url = POSTS if method == "POST" else f"{POSTS}/{as_user.id('no')}"
    reply = await client.request(method, url, json=BOAT, headers=as_user("bob", scopes=others))
    assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")


async def test_head_and_options(client: httpx2.AsyncClient, bob: dict[str, str], write: Write) -> None:
    url = f"{POSTS}/{(await write(bob))['id']}"
    head = await client.head(url, headers=bob)
    assert (head.status_code, head.content, "etag" in head.headers) == (200, b"", True)
    options = await client.options(url, headers=bob)
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS")


async def test_the_list_is_filtered(
    client: httpx2.AsyncClient, bob: dict[str, str], ann: dict[str, str], as_user: People, write: Write
) -> None:
    written = {
        "boats": await write(bob, title="A", tags=["boats", "wood"]),
        "cars": await write(bob, title="B", tags=["cars"]),
        "draft": await write(bob, title="C", tags=["boats"], status="draft"),
        "ann": await write(ann, title="D", tags=["boats"]),
    }

    async def seen(query: str) -> list[str]:
        reply = await client.get(f"{POSTS}?{query}", headers=bob)
        assert reply.status_code == 200, reply.text
        return [name for item in reply.json()["items"] for name, post in written.items() if post["id"] == item["id"]]

    assert await seen("") == ["ann", "draft", "cars", "boats"]
    assert await seen("tag=Boats&sort=created_at") == ["boats", "draft", "ann"]
    assert await seen("tag=cars&tag=wood") == ["cars", "boats"]
    assert await seen("status=draft") == ["draft"]
    assert await seen(f"author_id={as_user.id('ann')}") == ["ann"]
    assert await seen("sort=-title") == ["ann", "draft", "cars", "boats"]
    assert await seen(f"created_after={written['cars']['created_at'].replace('+', '%2B')}") == ["ann", "draft"]


async def test_the_list_has_two_modes(client: httpx2.AsyncClient, bob: dict[str, str], write: Write) -> None:
    titles = [(await write(bob, title=f"Post {number}"))["title"] for number in range(5)][::-1]
    first = (await client.get(f"{POSTS}?limit=2", headers=bob)).json()
    second = (await client.get(f"{POSTS}?limit=3&cursor={first['next_cursor']}", headers=bob)).json()
    assert [post["title"] for page in (first, second) for post in page["items"]] == titles
    assert second["next_cursor"] is None
    page = (await client.get(f"{POSTS}?page=2&size=2", headers=bob)).json()
    assert [post["title"] for post in page["items"]] == titles[2:4]
    assert page["pagination"] == {
        "page": 2, "size": 2, "total": 5, "pages": 3, "has_next": True, "has_prev": True, "total_is_estimate": False,
    }  # fmt: skip
    for query, code in (("page=1&limit=2", "one_mode"), ("page=101&size=100", "page_too_deep"), ("page=0", None)):
        reply = await client.get(f"{POSTS}?{query}", headers=bob)
        [error] = reply.json()["errors"]
        assert (reply.status_code, error["parameter"]) == (422, "page")
        assert code in (None, error["code"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("boats", ["English"]),  # stemmed: the post has `boat`
        ("sailing", ["English"]),
        ("Häuser", ["German"]),  # as it is: the reader's language is another
        ('"she sails"', ["English"]),
        ("boat OR Häuser", ["English", "German"]),
        ("sails -monday", []),
        ("nothing", []),
        ("!!!", []),
    ],
)
async def test_words_are_found_stemmed_and_as_they_are(
    client: httpx2.AsyncClient, bob: dict[str, str], ann: dict[str, str], write: Write, query: str, found: list[str]
) -> None:
    await client.patch("/api/v1/profile", json={"locale": "en-GB"}, headers=bob)
    await client.patch("/api/v1/profile", json={"locale": "de"}, headers=ann)
    await write(bob, title="English", content="She sails on Monday, a boat of wood.")
    await write(ann, title="German", content="Die Häuser am Hafen.")
    reply = await client.get(POSTS, params={"q": query, "sort": "title"}, headers=bob)
    assert [post["title"] for post in reply.json()["items"]] == found, reply.text


async def test_a_reader_finds_stems_of_their_own_language(
    client: httpx2.AsyncClient, ann: dict[str, str], write: Write
) -> None:
    await client.patch("/api/v1/profile", json={"locale": "de-AT"}, headers=ann)
    await write(ann, title="Der Hafen", content="Viele Boote liegen dort.")
    reply = await client.get(POSTS, params={"q": "Boot"}, headers=ann)
    assert [post["title"] for post in reply.json()["items"]] == ["Der Hafen"]


async def test_search_stays_in_the_tenant_and_in_what_is_seen(
    client: httpx2.AsyncClient, bob: dict[str, str], ann: dict[str, str], as_user: People, globex: None, write: Write
) -> None:
    await write(ann, title="Draft of a boat", status="draft")
    gil = as_user("gil", tenant="globex")
    await write(gil, title="Another boat")
    for headers, found in ((bob, []), (gil, ["Another boat"]), (ann, ["Draft of a boat"])):
        reply = await client.get(POSTS, params={"q": "boat"}, headers=headers)
        assert [post["title"] for post in reply.json()["items"]] == found
    quoted = await client.get(POSTS, params={"q": f"tenant {as_user.tenant_id('globex')}"}, headers=bob)
    assert quoted.json()["items"] == []
