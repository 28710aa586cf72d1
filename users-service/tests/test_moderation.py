"""Reports: members make them, moderators resolve them."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from shared.testing import People

from .calls import Published, Register

pytestmark = pytest.mark.usefixtures("acme")

REPORTS = "/api/v1/moderation/reports"

Report = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann", roles=["admin"])


@pytest.fixture
def bob(as_user: People) -> dict[str, str]:
    return as_user("bob")


@pytest.fixture
async def mo(client: httpx2.AsyncClient, as_user: People, register: Register, ann: dict[str, str]) -> dict[str, str]:
    """A moderator of acme, and cy, another member."""
    for name in ("mo", "cy"):
        await register(name)
    url = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('mo')}"
    assert (await client.put(url, json={"roles": ["moderator"]}, headers=ann)).status_code == 200
    return as_user("mo", roles=["moderator"])


@pytest.fixture
async def post(client: httpx2.AsyncClient, bob: dict[str, str]) -> dict[str, Any]:
    """A published post of bob's."""
    written = {"title": "Buy", "content": "Cheap boats.", "status": "published"}
    reply = await client.post("/api/v1/posts", json=written, headers=bob)
    found: dict[str, Any] = reply.json()
    return found


@pytest.fixture
def report(client: httpx2.AsyncClient) -> Report:
    """`await report(cy, "post", post["id"])`."""

    async def call(headers: dict[str, str], subject_type: str, subject_id: Any) -> dict[str, Any]:
        body = {"subject_type": subject_type, "subject_id": str(subject_id), "reason": "It advertises."}
        reply = await client.post(REPORTS, json=body, headers=headers)
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()
        return made

    return call


async def test_a_report_is_made_read_and_dismissed(
    client: httpx2.AsyncClient, as_user: People, mo: dict[str, str], post: dict[str, Any], report: Report
) -> None:
    made = await report(as_user("cy"), "post", post["id"])
    assert (made["status"], made["owner_id"], made["reporter_id"]) == (
        "open",
        str(as_user.id("bob")),
        str(as_user.id("cy")),
    )
    assert (await client.get(REPORTS, headers=mo)).json()["items"] == [made]
    read = await client.get(f"{REPORTS}/{made['id']}", headers=mo)
    assert read.json() == made
    resolved = await client.post(
        f"{REPORTS}/{made['id']}/resolve",
        json={"action": "dismiss", "note": "It breaks no rule."},
        headers=mo | {"If-Match": read.headers["etag"]},
    )
    assert (resolved.status_code, resolved.json()["status"], resolved.json()["action"]) == (200, "resolved", "dismiss")
    assert resolved.json()["resolved_by"] == str(as_user.id("mo"))
    again = await client.post(f"{REPORTS}/{made['id']}/resolve", json={"action": "remove"}, headers=mo)
    assert (again.status_code, again.json()["code"]) == (409, "report_resolved")
    assert (await client.get(f"/api/v1/posts/{post['id']}", headers=mo)).status_code == 200
    assert (await client.get(f"{REPORTS}?status=open", headers=mo)).json()["items"] == []
    assert len((await client.get(f"{REPORTS}?status=resolved&subject_type=post", headers=mo)).json()["items"]) == 1


async def test_a_member_has_one_open_report_about_a_subject(
    client: httpx2.AsyncClient, as_user: People, mo: dict[str, str], post: dict[str, Any], report: Report
) -> None:
    made = await report(as_user("cy"), "post", post["id"])
    body = {"subject_type": "post", "subject_id": post["id"], "reason": "Again."}
    reply = await client.post(REPORTS, json=body, headers=as_user("cy"))
    assert (reply.status_code, reply.json()["code"]) == (409, "already_reported")
    await report(mo, "post", post["id"])  # another member's
    await client.post(f"{REPORTS}/{made['id']}/resolve", json={"action": "dismiss"}, headers=mo)
    await report(as_user("cy"), "post", post["id"])  # the first one is resolved


async def test_removing_deletes_the_post(
    client: httpx2.AsyncClient, as_user: People, mo: dict[str, str], bob: dict[str, str], post: dict[str, Any],
    report: Report, published: Published,
) -> None:  # fmt: skip
    made = [await report(headers, "post", post["id"]) for headers in (as_user("cy"), mo)]
    await client.patch(f"/api/v1/posts/{post['id']}", json={"status": "draft"}, headers=bob)  # hidden from moderators
    for one in made:  # the second finds the post gone
        reply = await client.post(f"{REPORTS}/{one['id']}/resolve", json={"action": "remove"}, headers=mo)
        assert (reply.status_code, reply.json()["action"]) == (200, "remove")
    assert (await client.get(f"/api/v1/posts/{post['id']}", headers=mo)).status_code == 404
    assert len(await published("post.removed")) == 1


async def test_removing_a_file_needs_its_scope(
    client: httpx2.AsyncClient, mo: dict[str, str], ann: dict[str, str], bob: dict[str, str], report: Report
) -> None:
    file = (await client.post("/api/v1/files", files={"file": ("a.txt", b"a")}, headers=bob)).json()
    made = await report(ann, "file", file["id"])
    url = f"{REPORTS}/{made['id']}/resolve"
    refused = await client.post(url, json={"action": "remove"}, headers=mo)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert (await client.get(f"/api/v1/files/{file['id']}", headers=bob)).status_code == 200
    assert (await client.post(url, json={"action": "remove"}, headers=ann)).status_code == 200
    assert (await client.get(f"/api/v1/files/{file['id']}", headers=bob)).status_code == 404


async def test_suspending_ends_the_persons_tokens(
    client: httpx2.AsyncClient, as_user: People, mo: dict[str, str], bob: dict[str, str], post: dict[str, Any],
    report: Report, published: Published,
) -> None:  # fmt: skip
    made = await report(as_user("cy"), "post", post["id"])
    reply = await client.post(f"{REPORTS}/{made['id']}/resolve", json={"action": "suspend"}, headers=mo)
    assert reply.status_code == 200, reply.text
    assert (await client.patch("/api/v1/profile", json={"bio": "x"}, headers=bob)).status_code in (200, 401)
    written = {"title": "More", "content": "Boats.", "status": "published"}
    assert (await client.post("/api/v1/posts", json=written, headers=bob)).status_code == 401
    event = (await published("membership.changed"))[-1]
    assert (event.data["user_id"], event.data["status"]) == (str(as_user.id("bob")), "suspended")
    feed = await client.get("/internal/revocations?after=0", headers=as_user.service("gateway"))
    assert str(as_user.id("bob")) in feed.text


@pytest.mark.parametrize("name", ["ann", "mo"])
async def test_a_moderator_suspends_neither_admins_nor_themselves(
    client: httpx2.AsyncClient, as_user: People, mo: dict[str, str], report: Report, name: str
) -> None:
    made = await report(as_user("cy"), "user", as_user.id(name))
    reply = await client.post(f"{REPORTS}/{made['id']}/resolve", json={"action": "suspend"}, headers=mo)
    assert (reply.status_code, reply.json()["code"]) == (403, "member_protected")
    assert (await client.get(f"{REPORTS}/{made['id']}", headers=mo)).json()["status"] == "open"


async def test_a_person_cannot_be_removed(
    client: httpx2.AsyncClient, as_user: People, mo: dict[str, str], report: Report
) -> None:
    made = await report(as_user("cy"), "user", as_user.id("bob"))
    reply = await client.post(f"{REPORTS}/{made['id']}/resolve", json={"action": "remove"}, headers=mo)
    [error] = reply.json()["errors"]
    assert (reply.status_code, error["code"], error["pointer"]) == (422, "not_removable", "#/action")


async def test_what_the_caller_cannot_see_cannot_be_reported(
    client: httpx2.AsyncClient, as_user: People, mo: dict[str, str], bob: dict[str, str], globex: None
) -> None:
    file = (await client.post("/api/v1/files", files={"file": ("a.txt", b"a")}, headers=bob)).json()
    draft = (await client.post("/api/v1/posts", json={"title": "A", "content": "B"}, headers=bob)).json()
    for subject_type, subject_id in (
        *(("file", file["id"]), ("post", draft["id"]), ("user", str(as_user.id("gil")))),
        ("post", str(as_user.id("nothing"))),
    ):
        body = {"subject_type": subject_type, "subject_id": subject_id, "reason": "It advertises."}
        reply = await client.post(REPORTS, json=body, headers=as_user("cy"))
        assert (reply.status_code, reply.json()["code"]) == (404, "subject_not_found"), (subject_type, reply.text)


async def test_another_tenants_reports_are_not_found(
    client: httpx2.AsyncClient, as_user: People, mo: dict[str, str], globex: None, report: Report
) -> None:
    made = await report(as_user("cy"), "user", as_user.id("bob"))
    gil = as_user("gil", tenant="globex", roles=["admin"])
    assert (await client.get(REPORTS, headers=gil)).json()["items"] == []
    assert (await client.get(f"{REPORTS}/{made['id']}", headers=gil)).status_code == 404
    reply = await client.post(f"{REPORTS}/{made['id']}/resolve", json={"action": "dismiss"}, headers=gil)
    assert (reply.status_code, reply.json()["code"]) == (404, "report_not_found")


async def test_a_former_moderator_resolves_nothing(
    client: httpx2.AsyncClient, as_user: People, mo: dict[str, str], report: Report, ann: dict[str, str]
) -> None:
    made = await report(as_user("cy"), "user", as_user.id("bob"))
    url = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('mo')}"
    await client.put(url, json={"roles": ["user"]}, headers=ann)
    reply = await client.post(f"{REPORTS}/{made['id']}/resolve", json={"action": "dismiss"}, headers=mo)
    assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")


async def test_members_read_no_reports(client: httpx2.AsyncClient, bob: dict[str, str]) -> None:
    assert (await client.get(REPORTS, headers=bob)).status_code == 403


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"subject_type": "room"}, "#/subject_type"),
        ({"subject_id": "x"}, "#/subject_id"),
        ({"reason": "a"}, "#/reason"),
        ({"reason": "\u202e evil"}, "#/reason"),
        ({"status": "resolved"}, "#/status"),
    ],
)
async def test_what_a_report_cannot_be_is_refused(
    client: httpx2.AsyncClient, as_user: People, bob: dict[str, str], fields: dict[str, Any], place: str
) -> None:
    body = {"subject_type": "user", "subject_id": str(as_user.id("ann")), "reason": "Because.", **fields}
    reply = await client.post(REPORTS, json=body, headers=bob)
    [error] = reply.json()["errors"]
    assert (reply.status_code, error["pointer"]) == (422, place)


async def test_a_person_who_left_and_is_invited_again_is_not_suspended(
    client: httpx2.AsyncClient, as_user: People, mo: dict[str, str], ann: dict[str, str], report: Report
) -> None:
    """They would never have accepted the invitation."""
    made = await report(as_user("cy"), "user", as_user.id("bob"))
    member = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('bob')}"
    assert (await client.delete(member, headers=ann)).status_code == 204
    assert (await client.put(member, json={"roles": ["user"]}, headers=ann)).status_code == 201
    reply = await client.post(f"{REPORTS}/{made['id']}/resolve", json={"action": "suspend"}, headers=mo)
    assert (reply.status_code, reply.json()["code"]) == (404, "member_not_found")
    assert (await client.get(f"{REPORTS}/{made['id']}", headers=mo)).json()["status"] == "open"
