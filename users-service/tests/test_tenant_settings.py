from typing import Any

import httpx2
import pytest

from shared.testing import People

from .calls import Published

pytestmark = pytest.mark.usefixtures("acme", "globex")

URL = "/api/v1/admin/settings"
UNSET = dict.fromkeys(
    ("mfa_required", "idle_ttl_s", "remembered_idle_ttl_s", "max_ttl_s", "branding", "mail_texts"), None
)


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    """An admin of acme."""
    return as_user("ann", roles=["admin"])


async def test_an_admin_sets_and_unsets(client: httpx2.AsyncClient, ann: dict[str, str], published: Published) -> None:
    shown = await client.get(URL, headers=ann)
    assert (shown.status_code, shown.json()) == (200, UNSET)
    first = {"mfa_required": True, "branding": {"name": "Acme", "color": "#0B5CAD"}}
    reply = await client.patch(URL, json=first, headers=ann | {"If-Match": shown.headers["etag"]})
    assert reply.json() == UNSET | {"mfa_required": True, "branding": {"name": "Acme", "color": "#0b5cad"}}
    second = {"mfa_required": None, "branding": {"name": None}, "mail_texts": {"en": {"footer": "Acme\r\nHarbor 1"}}}
    reply = await client.patch(URL, json=second, headers=ann)
    assert reply.json() == UNSET | {
        "branding": {"name": None, "color": "#0b5cad"},
        "mail_texts": {"en": {"intro": None, "footer": "Acme\nHarbor 1"}},
    }
    assert (await client.get(URL, headers=ann)).json() == reply.json()
    await client.patch(URL, json={"branding": {"color": None}, "mail_texts": {"en": {"footer": None}}}, headers=ann)
    assert (await client.get(URL, headers=ann)).json() == UNSET
    assert [(row.subject_version, row.data["settings"]) for row in await published("tenant.updated")] == [
        (2, {"mfa_required": True, "branding": {"name": "Acme", "color": "#0b5cad"}}),
        (3, {"branding": {"color": "#0b5cad"}, "mail_texts": {"en": {"footer": "Acme\nHarbor 1"}}}),
        (4, {}),
    ]


async def test_a_repeat_makes_no_version(client: httpx2.AsyncClient, ann: dict[str, str], published: Published) -> None:
    first = await client.patch(URL, json={"max_ttl_s": 3600}, headers=ann)
    again = await client.patch(URL, json={"max_ttl_s": 3600}, headers=ann)
    assert first.headers["etag"] == again.headers["etag"]
    assert len(await published("tenant.updated")) == 1


async def test_a_stale_change_is_refused(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    seen = (await client.get(URL, headers=ann)).headers["etag"]
    await client.patch(URL, json={"max_ttl_s": 3600}, headers=ann)
    stale = await client.patch(URL, json={"max_ttl_s": 7200}, headers=ann | {"If-Match": seen})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert (await client.get(URL, headers=ann)).json()["max_ttl_s"] == 3600


async def test_a_tenant_sees_its_own_alone(client: httpx2.AsyncClient, as_user: People, ann: dict[str, str]) -> None:
    await client.patch(URL, json={"mfa_required": True}, headers=ann)
    assert (await client.get(URL, headers=as_user("gil", tenant="globex", roles=["admin"]))).json() == UNSET


async def test_the_other_services_read_them_with_a_membership(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str]
) -> None:
    await client.patch(URL, json={"mfa_required": True}, headers=ann)
    path = f"/internal/memberships/{as_user.tenant_id('acme')}/{as_user.id('ann')}"
    reply = await client.get(path, headers=as_user.service("auth"))
    assert reply.json()["tenant"]["settings"] == {"mfa_required": True}


@pytest.mark.parametrize("roles", [["user"], ["moderator"], ["analyst"]])
async def test_other_roles_neither_see_nor_change_them(
    client: httpx2.AsyncClient, as_user: People, roles: list[str]
) -> None:
    headers = as_user("bob", roles=roles)
    for reply in (await client.get(URL, headers=headers), await client.patch(URL, json={}, headers=headers)):
        assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")


async def test_a_role_that_ended_a_moment_ago_changes_nothing(client: httpx2.AsyncClient, as_user: People) -> None:
    bob = as_user("bob", roles=["admin"])  # the token says admin, the membership user
    refused = await client.patch(URL, json={"mfa_required": True}, headers=bob)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"mfa_required": "yes"}, "#/mfa_required"),
        ({"max_ttl_s": 59}, "#/max_ttl_s"),
        ({"max_ttl_s": 3600.5}, "#/max_ttl_s"),
        ({"idle_ttl_s": 10**12}, "#/idle_ttl_s"),
        ({"branding": {"name": " "}}, "#/branding/name"),
        ({"branding": {"name": "a\u202eb"}}, "#/branding/name"),
        ({"branding": {"color": "red"}}, "#/branding/color"),
        ({"branding": {"color": "#ffffff"}}, "#/branding/color"),
        ({"branding": {"logo": "x"}}, "#/branding/logo"),
        ({"mail_texts": {"en": {"intro": "a\u0007b"}}}, "#/mail_texts/en/intro"),
        ({"mail_texts": {"en": {"footer": "x" * 501}}}, "#/mail_texts/en/footer"),
        ({"mail_texts": {"English": {}}}, "#/mail_texts/English/[key]"),
        ({"tier": "enterprise"}, "#/tier"),
    ],
)
async def test_what_no_setting_can_be_is_refused(
    client: httpx2.AsyncClient, ann: dict[str, str], body: dict[str, Any], pointer: str
) -> None:
    reply = await client.patch(URL, json=body, headers=ann)
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, pointer)
    assert (await client.get(URL, headers=ann)).json() == UNSET
