import httpx2

from shared.testing import People

ROPE = {"item": "Rope, 20 m", "quantity": 2}


async def test_an_order_is_placed_and_read(client: httpx2.AsyncClient, as_user: People) -> None:
    placed = await client.post("/api/v1/orders", json=ROPE, headers=as_user("ann", tenant="acme"))
    assert placed.status_code == 201, placed.text
    read = await client.get(f"/api/v1/orders/{placed.json()['id']}", headers=as_user("bob", tenant="acme"))
    assert (read.status_code, read.json()) == (200, placed.json())


async def test_another_tenant_s_order_is_not_found(client: httpx2.AsyncClient, as_user: People) -> None:
    placed = await client.post("/api/v1/orders", json=ROPE, headers=as_user("ann", tenant="acme"))
    reply = await client.get(f"/api/v1/orders/{placed.json()['id']}", headers=as_user("gil", tenant="globex"))
    assert (reply.status_code, reply.json()["code"]) == (404, "order_not_found")


async def test_an_item_needs_a_name(client: httpx2.AsyncClient, as_user: People) -> None:
    reply = await client.post("/api/v1/orders", json={"item": ""}, headers=as_user("ann", tenant="acme"))
    assert reply.json()["errors"] == [
        {"detail": "Must have at least one visible character.", "code": "visible_character", "pointer": "#/item"}
    ]
