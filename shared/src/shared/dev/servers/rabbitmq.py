"""A RabbitMQ of our own beside whatever else runs: own node, ports, epmd and files; works as root or not."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from aiormq.exceptions import AMQPError

from shared.dev.servers.binaries import BinaryMissing, rabbitmq_binary, rabbitmq_version
from shared.dev.servers.guard import Guard
from shared.dev.servers.server import HOST, Server, free_port
from shared.events.rabbit import connect


class RabbitMQ(Server):
    name = "RabbitMQ"
    start_timeout_s = 90.0

    def __init__(self, folder: Path, guard: Guard, *, port: int | None = None) -> None:
        super().__init__(folder, guard, port=port)
        self._epmd_port = free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}/"

    @property
    def version(self) -> str:
        return rabbitmq_version(self._binary)

    @property
    def _binary(self) -> Path:
        if (binary := rabbitmq_binary()) is None:
            raise BinaryMissing("RabbitMQ is not installed; on Debian: apt-get install rabbitmq-server")
        return binary

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "plugins").write_text("[].\n", encoding="utf-8")
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = {HOST}:{self.port}\n", encoding="utf-8")
        await self.run([self._binary], env=self._environment(), cwd=self.folder)

    async def stop(self) -> None:
        await super().stop()
        self._end_epmd()

    async def kill(self) -> None:
        await super().kill()
        self._end_epmd()

    async def answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(
                HOST, self.port
            )  # aiormq logs each refusal; a bare socket is quiet
            writer.close()
            connection = await connect(self.url, timeout_s=3)
        except (OSError, AMQPError, TimeoutError):
            return False
        await connection.close()
        return True

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),  # the Erlang cookie's place
            "LANG": "C.UTF-8",
            # The node's name is part of its data's path: the same after every start. Its own epmd keeps it apart.
            "RABBITMQ_NODENAME": "flotilla@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
        }

    def _end_epmd(self) -> None:
        """epmd daemonises out of the group; it ends by its own command."""
        if (epmd := shutil.which("epmd")) is not None:
            environment = {**os.environ, "ERL_EPMD_PORT": str(self._epmd_port)}
            subprocess.run([epmd, "-kill"], env=environment, capture_output=True, check=False, timeout=10)  # noqa: S603 - Erlang's own
