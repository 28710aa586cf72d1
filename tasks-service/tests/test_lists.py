"""Every list of the service has the grammar of lists."""

import httpx2
from fastapi import FastAPI

from shared.testing import People
from shared.testing.lists import check_lists


async def test_every_list_has_the_grammar_of_lists(client: httpx2.AsyncClient, app: FastAPI, as_user: People) -> None:
    await check_lists(client, app, as_user("ann", roles=["admin"]), as_user.tenant_id("acme"))
