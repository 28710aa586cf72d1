"""The tenant that a request names, by subdomain or header."""

from typing import Any

import pytest

from shared.ids import new_id

SIGNED = "/api/v1/rooms/7/messages"


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ({"X-Tenant-ID": "acme"}, 200),
        ({"X-Tenant-ID": "ACME"}, 200),
        ({"X-Tenant-ID": "globex"}, 403),
        ({"X-Tenant-ID": str(new_id())}, 403),
        ({"X-Tenant-ID": ""}, 403),
        ({"Host": "acme.localhost:8000"}, 200),
        ({"Host": "globex.localhost:8000"}, 403),
        ({"Host": "GLOBEX.localhost.:8000"}, 403),
        ({"Host": "acme.localhost."}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "globex.localhost:8000", "X-Tenant-ID": "acme"}, 403),
    ],
)
async def test_the_request_may_not_name_another_tenant_than_its_token(
    client: Any, sign_in: Any, named: dict[str, str], status: int
) -> None:
    reply = await client.get(SIGNED, headers=sign_in("ann", tenant="acme") | named)
    assert reply.status_code == status
    if status == 403:
        assert reply.json()["code"] == "tenant_mismatch"


async def test_a_subdomain_names_the_tenant_of_a_sign_in(client: Any) -> None:
    reply = await client.post("/auth/login", json={}, headers={"Host": "acme.localhost:8000"})
    assert ["x-tenant-id", "acme"] in reply.json()["headers"]
    both = {"Host": "acme.localhost:8000", "X-Tenant-ID": "globex"}
    assert (await client.post("/auth/login", json={}, headers=both)).status_code == 403
    assert (await client.post("/auth/login", json={}, headers={"X-Tenant-ID": "a b"})).status_code == 422
