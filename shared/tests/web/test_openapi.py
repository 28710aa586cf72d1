"""The OpenAPI document, as the gateway reads it inside the fleet."""

import httpx2

from shared.testing.people import People

PATH = "/internal/openapi.json"


async def test_only_a_service_with_the_grant_reads_the_document(client: httpx2.AsyncClient, as_user: People) -> None:
    reply = await client.get(PATH, headers=as_user.service("gateway"))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    document = reply.json()
    assert document == (await client.get("/openapi.json")).json()
    assert {"/pages", PATH} <= document["paths"].keys()
    for headers, status in (({}, 401), (as_user("ann", roles=["system"]), 403), (as_user.service("chat"), 403)):
        assert (await client.get(PATH, headers=headers)).status_code == status
