"""What ended and is taken up again: the tokens from before stay ended, the new ones are valid at once, everywhere."""

import asyncio

import pytest
from people import Person, Town

from shared.testing import eventually

PATHS = ("/auth/me", "/api/v1/profile", "/api/v1/job-kinds", "/api/v1/rooms")


async def statuses(person: Person) -> set[int]:
    """What one request of each service through each gateway answers."""
    gateways = [person.at(number) for number in range(len(person.town.urls))]
    replies = await asyncio.gather(*(gateway.get(path, None) for gateway in gateways for path in PATHS))
    return {reply.status_code for reply in replies}


@pytest.mark.parametrize("times", [1, 3])
async def test_a_membership_taken_up_again_has_valid_tokens_at_once(town: Town, times: int) -> None:
    ann = await town.founder()
    ben = await town.member(ann)
    path = f"/api/v1/tenants/{ann.tenant_id}/members/{ben.id}"
    for _ in range(times):
        before = ben.at(0)
        await ann.call("DELETE", path, 204)
        await eventually(before.refused, within_s=10, saying="the ended membership's token is refused everywhere")
        await ann.call("PUT", path, 201, json={"roles": ["user"]})
        await town.sign_in(ben)
        assert await statuses(ben) == {200}
        async with ben.at(1).socket():
            pass
        assert await before.refused()


async def test_new_roles_are_valid_at_once_and_end_the_tokens_before(town: Town) -> None:
    """Also when the same roles come back: their first tokens are older than the change in between."""
    ann = await town.founder()
    ben = await town.member(ann)
    path = f"/api/v1/tenants/{ann.tenant_id}/members/{ben.id}"
    before = ben.at(0)
    for roles in (["analyst", "user"], ["user"]):
        await ann.call("PUT", path, 200, json={"roles": roles})
        await eventually(before.refused, within_s=10, saying="tokens with the earlier roles are refused everywhere")

        async def renewed(roles: list[str] = roles) -> bool:
            ben.tokens = (await town.refresh(ben.tokens["refresh_token"])).json()
            return ("analytics:read" in ben.scopes) == ("analyst" in roles)

        await eventually(renewed, within_s=10, saying="a refresh has the new roles")
        assert await statuses(ben) == {200}
        assert await before.refused()


async def test_a_resumed_tenants_new_tokens_are_valid_at_once(town: Town) -> None:
    ann = await town.founder()
    await town.set_tenant(ann.tenant_id, status="suspended")
    await eventually(ann.at(0).refused, within_s=10, saying="the suspended tenant's token is refused everywhere")
    await town.set_tenant(ann.tenant_id, status="active")
    await town.sign_in(ann)
    assert await statuses(ann) == {200}
