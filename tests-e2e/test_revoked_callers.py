"""The token of a removed or demoted admin, or of a suspended tenant's, grants nothing before the feed has ended it.

Each write is sent at once, also through the other gateway: neither may have read the revocation yet.
"""

from typing import Any

import httpx2
import pytest
from people import Person, Town

from shared.testing import eventually

REFUSED = (401, 403)


async def put(caller: Person, whom: Person, *roles: str) -> httpx2.Response:
    path = f"/api/v1/tenants/{caller.tenant_id}/members/{whom.id}"
    return await caller.call("PUT", path, json={"roles": list(roles)})


async def members(admin: Person) -> dict[str, tuple[str, list[str]]]:
    """Status and roles of the tenant's members, by id."""
    found = await admin.all_of(f"/api/v1/tenants/{admin.tenant_id}/members")
    return {one["user_id"]: (one["status"], one["roles"]) for one in found}


@pytest.mark.parametrize(("revoking", "asked"), [(0, 1), (1, 0), (0, 0)])
async def test_a_removed_admin_grants_nothing(town: Town, revoking: int, asked: int) -> None:
    ann = (await town.founder()).at(revoking)
    ben, cy = await town.member(ann, "admin"), await town.member(ann)
    ben = ben.at(asked)
    await ann.call("DELETE", f"/api/v1/tenants/{ann.tenant_id}/members/{ben.id}", 204)
    replies = [await put(ben, ben, "admin"), await put(ben, cy, "admin")]
    assert [reply.status_code for reply in replies] == [401, 401]
    assert await members(ann) == {ann.id: ("active", ["admin"]), cy.id: ("active", ["user"])}
    await town.sign_in(cy)
    assert "tenant:write" not in cy.scopes
    assert (await town.refresh(ben.tokens["refresh_token"], gateway=asked)).status_code == 401


@pytest.mark.parametrize(("revoking", "asked"), [(0, 1), (1, 0), (0, 0)])
async def test_a_demoted_admin_grants_nothing(town: Town, revoking: int, asked: int) -> None:
    ann = (await town.founder()).at(revoking)
    ben, cy = await town.member(ann, "admin"), await town.member(ann)
    ben = ben.at(asked)
    assert (await put(ann, ben, "user")).status_code == 200
    replies = [await put(ben, ben, "admin"), await put(ben, cy, "admin")]
    assert all(reply.status_code in REFUSED for reply in replies)  # 401 once the gateway has heard of it
    assert await members(ann) == {
        ann.id: ("active", ["admin"]),
        ben.id: ("active", ["user"]),
        cy.id: ("active", ["user"]),
    }

    async def roles() -> Any:
        ben.tokens = (await town.refresh(ben.tokens["refresh_token"], gateway=asked)).json()
        return "tenant:write" not in ben.scopes

    await eventually(roles, within_s=10, saying="ben's refreshed token has the roles of a user")
    assert (await put(ben, ben, "admin")).status_code in REFUSED


async def test_a_suspended_tenants_admin_grants_nothing(town: Town) -> None:
    ann = await town.founder()
    cy = await town.member(ann)
    await town.set_tenant(ann.tenant_id, status="suspended")
    replies = [await put(ann.at(gateway), cy, "admin") for gateway in (1, 0)]
    assert [reply.status_code for reply in replies] == [401, 401]
    await town.set_tenant(ann.tenant_id, status="active")
    await town.sign_in(cy)
    assert "tenant:write" not in cy.scopes
