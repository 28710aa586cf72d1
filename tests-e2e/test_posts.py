"""Posts through the gateway: followed, published, notified, removed."""

from typing import Any

from people import Person, Town

from shared.testing import eventually


async def notification_about(person: Person, kind: str, post_id: str) -> dict[str, Any]:
    """The person's notification of this kind about the post, once it is there."""

    async def look() -> list[dict[str, Any]]:
        listed = await person.all_of("/api/v1/notifications", kind=kind)
        return [one for one in listed if one["data"].get("post_id") == post_id]

    found = await eventually(look, saying=f"{kind} of {post_id}") or []
    assert len(found) == 1
    return found[0]


async def test_a_follower_hears_of_a_post_and_its_author_of_the_removal(town: Town) -> None:
    ann = await town.founder()
    bob = await town.member(ann)
    follow = f"/api/v1/users/{bob.id}/follow"
    await ann.call("PUT", follow, 204)
    stats = (await ann.get(f"/api/v1/users/{bob.id}/stats")).json()
    assert (stats["followers_count"], stats["posts_count"]) == (1, 0)

    draft = {"title": "Boats of May", "content": "Three of them leaked.", "tags": ["Boats"]}
    post = (await bob.at(1).post("/api/v1/posts", 201, json=draft)).json()
    path = f"/api/v1/posts/{post['id']}"
    await ann.at(1).call("PATCH", path, 403, json={"title": "Mine"})
    async with ann.socket() as socket:
        await bob.call("PATCH", path, 200, json={"status": "published"})
        pushed = await socket.next("notification", kind="post.published")
    told = await notification_about(ann, "post.published", post["id"])
    assert (pushed["id"], told["data"]["author_id"]) == (told["id"], bob.id)
    assert told["body"] == f"{bob.username} published a post."

    found = (await ann.get("/api/v1/posts", params={"q": "leaked", "tag": "boats", "page": 1})).json()
    assert ([one["id"] for one in found["items"]], found["pagination"]["total"]) == ([post["id"]], 1)
    options = await ann.call("OPTIONS", path, 204)
    assert {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"} <= set(options.headers["allow"].split(", "))

    await ann.call("DELETE", path, 422)
    await ann.call("DELETE", path, 204, params={"reason": "It names a customer."})
    await notification_about(bob, "post.removed", post["id"])
    await bob.get(path, 404)

    await ann.call("DELETE", follow, 204)
    assert await ann.all_of(f"/api/v1/users/{ann.id}/following") == []
