"""Tenants beyond the first: a member creates one, opens a session in it, and its settings count at the next sign-in."""

from uuid import uuid4

from people import PASSWORD, Town

from shared.testing import eventually


async def test_a_member_creates_a_tenant_and_administers_it(town: Town) -> None:
    bob = await town.member(await town.founder())
    slug = f"t{uuid4().hex[:10]}"
    made = (await bob.post("/api/v1/tenants", 201, json={"name": "Second", "slug": slug})).json()
    opened = (await bob.post("/auth/sessions", 201, json={"tenant": slug})).json()
    there = {"Authorization": f"Bearer {opened['access_token']}"}
    shown = await town.http.get(f"{town.urls[0]}/api/v1/tenants/{made['id']}", headers=there)
    assert (shown.status_code, shown.json()["slug"]) == (200, slug)
    assert (await bob.get(f"/api/v1/tenants/{made['id']}", None)).status_code in (403, 404)

    url = f"{town.urls[0]}/api/v1/admin/settings"
    changed = await town.http.patch(url, json={"mfa_required": True}, headers=there)
    assert (changed.status_code, changed.json()["mfa_required"]) == (200, True)

    async def is_required() -> bool:
        body = {"username": bob.username, "password": PASSWORD, "tenant": slug}
        reply = await town.http.post(f"{town.urls[0]}/auth/login", json=body)
        return (reply.status_code, reply.json().get("code")) == (401, "mfa_required")

    await eventually(is_required, every_s=0.1, saying="the second factor is required there")
    body = {"username": bob.username, "password": PASSWORD, "tenant": bob.tenant}
    assert (await town.http.post(f"{town.urls[0]}/auth/login", json=body)).status_code == 200


async def test_a_deleted_tenant_is_closed_and_taken_back(town: Town) -> None:
    ann = await town.founder()
    bob = await town.member(ann)
    deleted = (await ann.call("DELETE", f"/api/v1/tenants/{ann.tenant_id}", 202)).json()
    assert deleted["status"] == "deleting"
    for person in (ann, bob):
        await eventually(person.refused, within_s=2.5, every_s=0.1, saying=f"{person.username} is refused everywhere")
    body = {"username": bob.username, "password": PASSWORD, "tenant": bob.tenant}
    url = f"{town.urls[0]}/auth/login"

    async def is_closed() -> bool:
        return (await town.http.post(url, json=body)).status_code == 403

    await eventually(is_closed, every_s=0.1, saying="nobody signs in to it")
    await town.set_tenant(ann.tenant_id, status="active")
    await town.sign_in(bob)
    await bob.get("/api/v1/profile")
