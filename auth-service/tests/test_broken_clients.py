"""Clients that break the rules do auth-service no harm, as a process of its own."""

from pathlib import Path
from typing import Any

from shared.testing import People
from shared.testing.broken_clients import Target, survives
from shared.testing.processes import service_process


async def test_broken_clients_do_no_harm(settings_values: dict[str, Any], as_user: People, tmp_path: Path) -> None:
    async with service_process("auth_service", settings_values, tmp_path / "log") as process:
        target = Target(process.url, lambda: as_user("ann"), get="/oauth2/jwks.json", post="/auth/login")
        await survives(process, target)
