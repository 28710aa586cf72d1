"""The images' base: pulled from a registry where one is reachable, else made here from Debian's packages.

Either way it has the name that the Dockerfiles ask for, so they are built unmodified.
"""

import asyncio
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from shared.dev.images.engine import Engine, EngineFailed, EngineMissing

SUITE: Final = "bookworm"
"""The release of Debian that the base's tag names."""
_CA_INSIDE: Final = "/etc/ssl/certs/ca-certificates.crt"
_FROM: Final = re.compile(r"^ARG PYTHON=(\S+)$.*?^FROM (\S+) AS packages$", re.MULTILINE | re.DOTALL)


def base_of(dockerfile: Path) -> str:
    """The image that a Dockerfile builds on."""
    found = _FROM.search(dockerfile.read_text(encoding="utf-8"))
    if found is None:
        raise EngineFailed(f"{dockerfile} does not name its base with `ARG PYTHON=…` and `FROM … AS packages`")
    return found.group(2).replace("${PYTHON}", found.group(1))


async def bring_base(engine: Engine, name: str) -> str:
    """See to it that the engine has the image `name`; how, in words. Raises EngineMissing where there is no way."""
    if await engine.has(name):
        return "was already present"
    try:
        await engine.do("pull", name, timeout_s=300)
    except EngineFailed as error:
        no_registry = error
    else:
        return "was pulled"
    try:
        await _make(engine, name)
    except EngineFailed as error:
        raise EngineMissing(f"{name} can be neither pulled nor built here.\n{no_registry}\n{error}") from error
    return "was built from Debian's packages, because no registry is reachable"


async def _make(engine: Engine, name: str) -> None:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise EngineFailed("building it requires root and debootstrap: apt-get install debootstrap")
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="flotilla-base-") as folder:
        root = Path(folder) / "root"
        include = "--include=ca-certificates,python3,python3-pip"
        await _run("debootstrap", "--variant=minbase", include, SUITE, str(root), _mirror())
        _finish(root)
        archive = Path(folder) / "root.tar"
        await _run("tar", "--one-file-system", "-C", str(root), "-cf", str(archive), ".")
        settings = [f"ENV PIP_CERT={_CA_INSIDE}", f"ENV SSL_CERT_FILE={_CA_INSIDE}", 'CMD ["python"]']
        changes = [part for setting in settings for part in ("--change", setting)]
        await engine.do("import", *changes, archive, name, timeout_s=120)


def _finish(root: Path) -> None:
    """What the public image has beside Debian: `python`, and no documentation; and this machine's authorities."""
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    shutil.copyfile(os.environ.get("SSL_CERT_FILE", _CA_INSIDE), root / _CA_INSIDE.lstrip("/"))
    for unused in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / unused, ignore_errors=True)


def _mirror() -> str:
    """The mirror that this machine's own packages come from."""
    listed = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("debian.*"))]
    for file in listed:
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        found = re.search(r"^(?:deb\s+(?:\[[^\]]*\]\s+)?|URIs:\s*)(https?://\S+/debian)/?(?=\s|$)", text, re.MULTILINE)
        if found is not None:
            return found.group(1)
    raise EngineFailed("this machine's apt sources name no Debian mirror to build it from")


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        last = output.decode(errors="replace").splitlines()[-10:]
        raise EngineFailed("\n".join([f"{command[0]} failed ({process.returncode}):", *last]))
