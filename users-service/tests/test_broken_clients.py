"""Clients that break the rules do users-service no harm, as a process of its own."""

from pathlib import Path
from typing import Any

import httpx2

from shared.testing import People
from shared.testing.broken_clients import Target, survives
from shared.testing.processes import service_process


async def test_broken_clients_do_no_harm(
    settings_values: dict[str, Any], acme: None, client: httpx2.AsyncClient, as_user: People, tmp_path: Path
) -> None:
    files = {"file": ("long.bin", b"\0" * 2_900_000, "application/octet-stream")}
    file = (await client.post("/api/v1/files", files=files, headers=as_user("ann"))).json()
    async with service_process("users_service", settings_values, tmp_path / "log") as process:
        paths = {
            "get": "/api/v1/files",
            "post": "/api/v1/profile",
            "method": "PUT",
            "multipart": "/api/v1/files",
            "stream": f"/api/v1/files/{file['id']}/content",
        }
        await survives(process, Target(process.url, lambda: as_user("ann"), **paths))
