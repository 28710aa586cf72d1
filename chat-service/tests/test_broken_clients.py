"""Clients that break the rules do chat-service no harm, as a process of its own."""

from pathlib import Path
from typing import Any

from shared.testing.broken_clients import Target, survives
from shared.testing.processes import service_process

from .conftest import Members


async def test_broken_clients_do_no_harm(settings_values: dict[str, Any], members: Members, tmp_path: Path) -> None:
    async with service_process("chat_service", settings_values, tmp_path / "log") as process:
        paths = {"get": "/api/v1/rooms", "post": "/api/v1/rooms", "websocket": "/ws"}
        await survives(process, Target(process.url, lambda: members("ann"), **paths))
