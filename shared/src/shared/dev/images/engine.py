"""A container engine on this machine: docker, or podman, set up to work as root without systemd too."""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PODMAN_AS_ROOT: Final = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
"""
"""For a root without systemd: crun and systemd's cgroups fail there, and so do ulimits above its own."""

PACKAGES: Final = "podman runc netavark aardvark-dns iptables buildah debootstrap"
"""What Debian needs for `make images`."""


class EngineMissing(Exception):
    """No container engine can work here; the message says why and what brings one."""


class EngineFailed(Exception):
    """A command of the engine failed; the message ends with what it said."""


@dataclass(frozen=True)
class Engine:
    """The command line of an engine: docker's, which podman shares."""

    command: str
    environment: Mapping[str, str]

    @property
    def strictly_read_only(self) -> Sequence[str]:
        """Options of `run`: nothing is writable but /tmp (podman would add /run and /var/tmp by itself)."""
        more = ["--read-only-tmpfs=false"] if self.command == "podman" else []
        return ["--read-only", *more, "--tmpfs", "/tmp"]  # noqa: S108 - inside the container

    @property
    def without_pulling(self) -> Sequence[str]:
        """Options of `build`: the base is here, and no registry is asked for it."""
        return ["--pull=never"] if self.command == "podman" else []

    async def do(self, *arguments: str | Path, timeout_s: float = 60) -> str:
        """Run one command; what it printed. Raises EngineFailed."""
        process = await asyncio.create_subprocess_exec(
            self.command, *arguments, env=self.environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        called = f"{self.command} {arguments[0]}"
        try:
            async with asyncio.timeout(timeout_s):
                output, said = await process.communicate()
        except TimeoutError:
            raise EngineFailed(f"{called} took more than {timeout_s:.0f} s") from None
        finally:
            if process.returncode is None:  # too late, or nobody waits any more
                process.kill()
                await process.wait()
        if process.returncode != 0:
            lines = (output + said).decode(errors="replace").splitlines()
            raise EngineFailed("\n".join([f"{called} failed ({process.returncode}):", *lines[-30:]]))
        return output.decode(errors="replace")

    async def has(self, image: str) -> bool:
        try:
            await self.do("image", "inspect", image)
        except EngineFailed:
            return False
        return True


async def find_engine(folder: Path) -> Engine:
    """The first engine that answers; podman's set-up is written into `folder`. Raises EngineMissing."""
    reasons = []
    for command in ("docker", "podman"):
        if shutil.which(command) is None:
            reasons.append(f"{command} is not installed")
            continue
        engine = Engine(command, _environment(command, folder))
        try:
            await engine.do("info", timeout_s=30)
        except EngineFailed as error:
            reasons.append(str(error))
        else:
            return engine
    raise EngineMissing(
        "\n".join([*reasons, f"on Debian, as root: apt-get install --no-install-recommends {PACKAGES}"])
    )


def _environment(command: str, folder: Path) -> dict[str, str]:
    environment = dict(os.environ)
    bare_root = os.geteuid() == 0 and not Path("/run/systemd/system").exists()
    if command == "podman" and bare_root and "CONTAINERS_CONF" not in environment:
        file = folder / "containers.conf"
        file.write_text(PODMAN_AS_ROOT, encoding="utf-8")
        environment["CONTAINERS_CONF"] = str(file)
    return environment
