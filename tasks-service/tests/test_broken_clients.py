"""Clients that break the rules do tasks-service no harm, as a process of its own."""

from pathlib import Path
from typing import Any

import httpx2

from shared.testing import People
from shared.testing.broken_clients import Target, survives
from shared.testing.processes import service_process


async def test_broken_clients_do_no_harm(
    settings_values: dict[str, Any], client: httpx2.AsyncClient, as_user: People, tmp_path: Path
) -> None:
    count = {"kind": "data_processing", "input": {"operation": "count", "rows": [{"n": 1}]}}
    job = (await client.post("/api/v1/jobs", json=count, headers=as_user("ann"))).json()  # no worker runs it
    async with service_process("tasks_service", settings_values, tmp_path / "log") as process:
        paths = {"get": "/api/v1/jobs", "post": "/api/v1/jobs", "stream": f"/api/v1/jobs/{job['id']}/events"}
        target = Target(process.url, lambda: as_user("ann"), **paths)
        await survives(process, target)
