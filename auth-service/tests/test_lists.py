"""Every list of the service has the grammar of lists."""

from fastapi import FastAPI

from shared.testing.lists import check_cursors, check_lists

from .door import Door, principal_of


async def test_every_list_has_the_grammar_of_lists(door: Door, app: FastAPI) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    tenant_id = principal_of(tokens).tenant_id
    assert tenant_id is not None
    await check_lists(door.client, app, door.bearer(tokens), tenant_id)


async def test_a_cursor_is_for_one_list_only(door: Door) -> None:
    ann, gil = await door.signed_up("ann", slug="acme"), await door.signed_up("gil", slug="globex")

    async def session() -> None:
        assert (await door.login("ann")).status_code == 200

    async def api_key() -> None:
        body = {"name": "a program", "scopes": ["files:read"]}
        assert (await door.client.post("/auth/api-keys", json=body, headers=door.bearer(ann))).status_code == 201

    await check_cursors(
        door.client,
        door.bearer(ann),
        {"/auth/sessions": session, "/auth/audit": session, "/auth/api-keys": api_key},
        door.bearer(gil),
    )
