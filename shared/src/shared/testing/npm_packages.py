"""What the tests need from npm: independent OAuth clients, an upstream issuer, an accessibility checker.

`npm/package-lock.json` pins them by digest. They are installed beside the virtual environment, once per lock file.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Final

_FILES: Final = files("shared.testing") / "npm"
_FOLDER: Final = Path(sys.prefix) / "npm"


class NpmMissing(Exception):
    """Node.js or npm is not installed, or the packages could not be fetched; the message says which."""


def npm_packages() -> Path:
    """The folder with `node_modules` in it. Raises NpmMissing."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        raise NpmMissing(f"{' and '.join(missing)} not installed")
    lock = (_FILES / "package-lock.json").read_bytes()
    digest = hashlib.sha256(lock).hexdigest()
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # several test runs may need them at once
        marker = _FOLDER / "installed"
        if not marker.exists() or marker.read_text() != digest:
            (_FOLDER / "package.json").write_bytes((_FILES / "package.json").read_bytes())
            (_FOLDER / "package-lock.json").write_bytes(lock)
            _install()
            marker.write_text(digest)
    return _FOLDER


def _install() -> None:
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],  # noqa: S607 - found on PATH
        cwd=_FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NpmMissing(f"npm ci failed: {done.stderr[-500:]}")
