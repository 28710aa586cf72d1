"""A copy of the repository with a sixth service in it, run by this virtualenv with the copy's own packages."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.dev.fleet import fleet, repository

ROOT: Final = repository()
TEMPLATE: Final = Path(__file__).parent / "orders-service"
ENTRY: Final = "[tool.flotilla.services.orders]\nport = 8005\n"
_NEXT: Final = "\n[tool.flotilla.services.gateway]"


@dataclass(frozen=True)
class RepositoryCopy:
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """The copy's sources come before those that are installed."""
        folders = ("shared", TEMPLATE.name, *(service.folder for service in fleet(self.root).values()))
        sources = os.pathsep.join(str(self.root / folder / "src") for folder in folders)
        return {**os.environ, "PYTHONPATH": sources, "BUS": "valkey"}

    def command(self, *arguments: str) -> list[str]:
        """`make` that uses this virtualenv and installs nothing."""
        return ["make", "--no-print-directory", "-o", ".venv/.installed", f"PY={sys.executable}", *arguments]

    def make(self, *arguments: str, within_s: float = 120) -> tuple[int, str]:
        """Run `make` to its end; its exit code and output."""
        return self._run(self.command(*arguments), within_s)

    def python(self, *arguments: str, within_s: float) -> tuple[int, str]:
        """Run this virtualenv's Python to its end; its exit code and output."""
        return self._run([sys.executable, *arguments], within_s)

    def _run(self, command: list[str], within_s: float) -> tuple[int, str]:
        done = subprocess.run(  # noqa: S603 - our Makefile and our tests
            command, cwd=self.root, env=self.environment, check=False, timeout=within_s,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout

    def add_service(self) -> None:
        """The folder, with another service's Dockerfile under its own names and port, and the entry in the list."""
        shutil.copytree(TEMPLATE, self.root / "orders-service", ignore=shutil.ignore_patterns("__pycache__"))
        dockerfile = (self.root / "users-service" / "Dockerfile").read_text()
        for old, new in (("users-service", "orders-service"), ("users_service", "orders_service"), ("8002", "8005")):
            dockerfile = dockerfile.replace(old, new)
        (self.root / "orders-service" / "Dockerfile").write_text(dockerfile)
        pyproject = self.root / "pyproject.toml"
        pyproject.write_text(pyproject.read_text().replace(_NEXT, f"\n{ENTRY}{_NEXT}"))


def copy_repository(into: Path) -> RepositoryCopy:
    """Copy the files that are in the index or could be added to it."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603 - reads our own index
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # a deletion may not be committed yet
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, into / name)
    return RepositoryCopy(into)
