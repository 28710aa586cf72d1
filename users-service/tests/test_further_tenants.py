"""People who are registered create further tenants."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx2
import pytest

from shared.app import Service
from shared.settings import ServiceSettings
from shared.testing import People
from shared.testing.running import running_service

from .calls import Published

pytestmark = pytest.mark.usefixtures("acme", "globex")

URL = "/api/v1/tenants"
WANTED = {"name": "Initech", "slug": "initech"}


async def test_the_creator_is_its_admin(client: httpx2.AsyncClient, as_user: People, published: Published) -> None:
    bob = as_user("bob")
    reply = await client.post(URL, json=WANTED, headers=bob)
    made = reply.json()
    assert (reply.status_code, made["slug"], made["tier"], made["status"]) == (201, "initech", "free", "active")
    assert reply.headers["location"] == f"{URL}/{made['id']}"
    assert made["id"] in [one["id"] for one in (await client.get(URL, headers=bob)).json()["items"]]
    membership = (
        await client.get(f"/internal/memberships/{made['id']}/{as_user.id('bob')}", headers=as_user.service("auth"))
    ).json()
    assert (membership["roles"], membership["status"]) == (["admin"], "active")
    created = [row for row in await published("tenant.created") if row.data["slug"] == "initech"]
    granted = [row for row in await published("membership.granted") if str(row.tenant_id) == made["id"]]
    assert (len(created), len(granted)) == (1, 1)


async def test_it_is_no_tenant_of_the_callers_session(client: httpx2.AsyncClient, as_user: People) -> None:
    bob = as_user("bob", roles=["admin"])
    made = (await client.post(URL, json=WANTED, headers=bob)).json()
    assert (await client.get(f"{URL}/{made['id']}", headers=bob)).status_code == 404
    there = as_user("bob", tenant=UUID(made["id"]), roles=["admin"])
    assert (await client.get(f"{URL}/{made['id']}", headers=there)).status_code == 200
    assert (await client.get("/api/v1/profile", headers=there)).json()["username"] == "bob"


async def test_a_slug_is_for_one_tenant(client: httpx2.AsyncClient, as_user: People, published: Published) -> None:
    for headers in (as_user("bob"), as_user("gil", tenant="globex")):
        taken = await client.post(URL, json=WANTED | {"slug": "acme"}, headers=headers)
        assert (taken.status_code, taken.json()["code"]) == (409, "slug_taken")
    reserved = await client.post(URL, json=WANTED | {"slug": "admin"}, headers=as_user("bob"))
    assert (reserved.status_code, reserved.json()["code"]) == (422, "slug_reserved")
    assert reserved.json()["errors"][0]["pointer"] == "#/slug"
    assert len(await published("tenant.created")) == 2


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"slug": "Acme"}, "#/slug"),
        ({"slug": "a"}, "#/slug"),
        ({"name": "\u2066x"}, "#/name"),
        ({"name": ""}, "#/name"),
        ({"tier": "enterprise"}, "#/tier"),
        ({"id": "01890a5d-ac96-774b-bcce-b302099a8057"}, "#/id"),
    ],
)
async def test_what_no_tenant_can_be_is_refused(
    client: httpx2.AsyncClient, as_user: People, changes: dict[str, Any], pointer: str
) -> None:
    reply = await client.post(URL, json=WANTED | changes, headers=as_user("bob"))
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_who_has_left_creates_none(client: httpx2.AsyncClient, as_user: People, published: Published) -> None:
    ann = as_user("ann", roles=["admin"])
    await client.delete(f"{URL}/{as_user.tenant_id('acme')}/members/{as_user.id('bob')}", headers=ann)
    refused = await client.post(URL, json=WANTED, headers=as_user("bob"))
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
    assert len(await published("tenant.created")) == 2


async def test_an_impersonation_creates_none(client: httpx2.AsyncClient, as_user: People) -> None:
    person = replace(as_user.principal("bob"), impersonator=as_user.id("ops"))
    headers = as_user.headers(as_user.signer("gateway").forward(person, "users"))
    assert (await client.post(URL, json=WANTED, headers=headers)).status_code == 403


async def test_a_token_without_the_scope_creates_none(client: httpx2.AsyncClient, as_user: People) -> None:
    refused = await client.post(URL, json=WANTED, headers=as_user("bob", scopes=["profile:read"]))
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


async def test_where_operators_alone_create_tenants(
    service: Service, settings_values: dict[str, Any], as_user: People, operator: dict[str, str]
) -> None:
    settings: ServiceSettings = service.settings(
        _env_file=None, **settings_values, registration={"tenants": "operator"}
    )
    async with running_service(service.create_app(settings)) as url, httpx2.AsyncClient(base_url=url) as client:
        refused = await client.post(URL, json=WANTED, headers=as_user("bob"))
        assert (refused.status_code, refused.json()["code"]) == (403, "tenant_creation_closed")
        assert (await client.post(URL, json=WANTED, headers=operator)).status_code == 201
