"""PostgreSQL restarts under a running service: requests succeed from the moment the service is ready again."""

import asyncio
from typing import Any

import httpx2
from fastapi import FastAPI

from auth_service.app import service as auth
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.dev.servers.postgres import Postgres
from shared.testing import People, databases, eventually, serving_service

from .door import Door

AT_ONCE = 6  # more than either pool holds


async def test_the_first_sign_ins_after_a_restart_succeed(
    own_postgres: Postgres, settings_values: dict[str, Any], as_user: People
) -> None:
    async with databases.template(own_postgres.url, auth) as made, made.cloned() as name:
        changed = {"database_url": made.app_url, "database": settings_values["database"] | {"name": name}}
        app: FastAPI = auth.create_app(AuthSettings(_env_file=None, **settings_values | changed))
        async with (
            serving_service(app) as served,
            httpx2.AsyncClient(base_url=served.url, timeout=10) as client,
        ):
            door = Door(client, as_user, served.resources.get(Database))
            await door.signed_up("ann")
            sessions = [reply.json() for reply in await asyncio.gather(*(door.login("ann") for _ in range(AT_ONCE)))]

            await own_postgres.stop()
            await own_postgres.start()

            async def ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            await eventually(ready, within_s=20, saying="the service is ready again")
            replies = await asyncio.gather(*(door.login("ann") for _ in range(AT_ONCE)))
            replies += await asyncio.gather(*(door.refresh(tokens["refresh_token"]) for tokens in sessions))
            assert [reply.status_code for reply in replies] == [200] * 2 * AT_ONCE
