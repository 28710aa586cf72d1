"""What this machine has and lacks for running the fleet, each lack with the command that brings it."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.dev.fleet import fleet
from shared.dev.launcher import ports
from shared.dev.launcher.data_folder import DataFolder
from shared.dev.servers.binaries import (
    BinaryMissing,
    postgres_binaries,
    rabbitmq_binary,
    rabbitmq_version,
    valkey_binary,
)
from shared.dev.servers.privileges import user_namespaces

MIN_FREE_BYTES: Final = 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    said: str
    remedy: str = ""
    """The command that brings it; empty when nothing is amiss."""
    needed: bool = True

    @property
    def fatal(self) -> bool:
        return bool(self.remedy) and self.needed


def findings(root: Path, folder: DataFolder) -> Iterator[Finding]:
    """Everything that `make up` and `make images` would trip over."""
    yield _python()
    yield _postgres(folder)
    yield _valkey()
    yield _rabbitmq()
    yield _privileges()
    yield from _ports(root, folder)
    yield _disk(root)
    yield _tool("podman or docker", ("podman", "docker"), "apt-get install podman   (needed by make images only)")
    yield _tool("kubectl", ("kubectl",), "https://kubernetes.io/docs/tasks/tools   (needed by make manifests only)")
    yield _tool("uv", ("uv",), "pip install uv   (optional: make install is faster with it)")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    too_old = sys.version_info < (3, 11)
    return Finding(
        "Python", version, "install Python 3.11 or newer, then: make PYTHON=python3.12 up" if too_old else ""
    )


def _postgres(folder: DataFolder) -> Finding:
    try:
        binaries = postgres_binaries()
        found = f"{binaries.version} ({binaries.origin})"
    except BinaryMissing as missing:
        return Finding("PostgreSQL", str(missing), "make install")
    data = folder.path / "postgres" / "data" / "PG_VERSION"
    if data.is_file() and (major := data.read_text(encoding="ascii").strip()) != str(binaries.major):
        return Finding("PostgreSQL", f"{found}, but the data folder was written by PostgreSQL {major}", "make reset")
    return Finding("PostgreSQL", found)


def _valkey() -> Finding:
    try:
        return Finding("Valkey", str(valkey_binary().name))
    except BinaryMissing as missing:
        return Finding("Valkey", str(missing), "make install")


def _rabbitmq() -> Finding:
    if (binary := rabbitmq_binary()) is not None:
        return Finding("RabbitMQ", rabbitmq_version(binary))
    return Finding(
        "RabbitMQ", "not installed; events go through a second Valkey", "apt-get install rabbitmq-server", needed=False
    )


def _privileges() -> Finding:
    if os.geteuid() != 0:
        return Finding("user", "not root")
    way = "in a user namespace" if user_namespaces() else "as the user `nobody`, from a copy in /var/tmp"
    return Finding("user", f"root: PostgreSQL runs {way}")


def _ports(root: Path, folder: DataFolder) -> Iterator[Finding]:
    if (running := folder.running()) is not None:
        yield Finding("ports", f"a fleet is already running at {running.gateway_url}")
        return
    try:
        ports.check_free(ports.chosen_ports(fleet(root).values()))
        yield Finding("ports", "all free")
    except ports.PortTaken as taken:
        for line in str(taken).splitlines():
            said, _, remedy = line.partition(": ")
            yield Finding("ports", said, remedy)


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    remedy = "free some space: databases and logs need 1 GiB" if free < MIN_FREE_BYTES else ""
    return Finding("disk", f"{free / 1024**3:.1f} GiB free", remedy)


def _tool(what: str, names: tuple[str, ...], remedy: str) -> Finding:
    found = next((name for name in names if shutil.which(name)), None)
    return Finding(what, f"{found} is installed" if found else "not installed", "" if found else remedy, needed=False)


def report(found: Iterator[Finding], say: Callable[[str], None]) -> bool:
    """Say each finding on a line; True when nothing needed is missing."""
    fine = True
    for finding in found:
        sign = "missing" if finding.fatal else "note" if finding.remedy else "ok"
        say(f"{sign:<8} {finding.what:<17} {finding.said}")
        if finding.remedy:
            say(f"{'':<26} → {finding.remedy}")
        fine = fine and not finding.fatal
    return fine
