"""A registration touches two services; whatever breaks between them, nothing is left behind and no name is lost."""

import secrets
from typing import Any

import harm
import httpx2
from people import PASSWORD, Town

from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually


async def register(town: Town, username: str, slug: str) -> httpx2.Response:
    body: dict[str, Any] = {"username": username, "email": f"{username}@example.com", "password": PASSWORD}
    body |= {"confirm_password": PASSWORD, "tenant": {"name": slug.title(), "slug": slug}}
    return await town.http.post(f"{town.urls[0]}/auth/register", json=body)


async def registered(town: Town, username: str, slug: str) -> dict[str, Any]:
    """Asked again while it is 503, as a client does: users-service has just begun to answer again."""

    async def answer() -> httpx2.Response | None:
        reply = await register(town, username, slug)
        return reply if reply.status_code != 503 else None

    reply = await eventually(answer, within_s=60, every_s=0.5, saying=f"{username} registers {slug}")
    assert reply is not None
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


async def test_an_abandoned_registration_leaves_its_slug_to_others(fleet: Fleet, town: Town) -> None:
    """users-service is asked, does not answer in time, and carries the call out when nobody waits for it any more."""
    ann, bob, first, second = (f"r{secrets.token_hex(5)}" for _ in range(4))
    with harm.paused(fleet.children["users"]):
        begun = await register(town, ann, first)
        assert (begun.status_code, begun.json()["code"]) == (503, "registration_unfinished")

    assert (await registered(town, ann, second))["tenant"]["slug"] == second
    signed_in = await town.http.post(f"{town.urls[0]}/auth/login", json={"username": ann, "password": PASSWORD})
    headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
    tenants = await town.http.get(f"{town.urls[0]}/api/v1/tenants", headers=headers)
    assert [tenant["slug"] for tenant in tenants.json()["items"]] == [second]
    assert (await registered(town, bob, first))["tenant"]["slug"] == first


async def test_a_registration_without_an_answer_is_finished_by_the_same_request(fleet: Fleet, town: Town) -> None:
    ann, slug = f"r{secrets.token_hex(5)}", f"r{secrets.token_hex(5)}"
    with harm.paused(fleet.children["users"]):
        assert (await register(town, ann, slug)).status_code == 503
    assert (await registered(town, ann, slug))["tenant"]["slug"] == slug
