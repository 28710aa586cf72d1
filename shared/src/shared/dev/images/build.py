"""`make images`: build every service's image and try it, ready against servers on this host.

Databases are made and migrated from the images; then all processes run at once until each says that it is ready. Where
no container engine can work it says so and that is no failure, unless `--require` asks for one.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Annotated, TypeVar, cast

import typer

from shared.dev.fleet import FleetService, fleet, repository
from shared.dev.images.base_image import base_of, bring_base
from shared.dev.images.engine import Engine, EngineFailed, EngineMissing, find_engine
from shared.dev.images.secret_files import write_keys
from shared.dev.images.trial import ImageFaulty, Process, Trial, image_of
from shared.dev.launcher.backing_services import Backing, backing
from shared.dev.launcher.data_folder import DataFolder
from shared.dev.servers.guard import Guard
from shared.dev.servers.server import ServerFailed, free_port

T = TypeVar("T")

BUILD_S = 480  # the first image installs every package


async def build_and_try(root: Path, folder: Path) -> None:
    """Build all images, run them, print what was seen. Raises EngineMissing, EngineFailed, ImageFaulty."""
    services = list(fleet(root).values())
    engine = await find_engine(folder)
    base = base_of(root / services[0].folder / "Dockerfile")
    typer.echo(f"{engine.command}: {base} {await bring_base(engine, base)}")
    for service in services:  # one after the other: the first leaves the layer of packages to the rest
        await _build(engine, root, service)
    async with _servers(folder) as around:
        for line in await _tried(engine, services, around, folder):
            typer.echo(line)


async def _build(engine: Engine, root: Path, service: FleetService) -> None:
    began = time.monotonic()
    what = ["--file", str(root / service.folder / "Dockerfile"), "--tag", image_of(service)]
    await engine.do("build", "--network", "host", *engine.without_pulling, *what, root, timeout_s=BUILD_S)
    size = int(await engine.do("image", "inspect", "--format", "{{.Size}}", image_of(service)))
    typer.echo(f"{image_of(service):<28} built in {time.monotonic() - began:3.0f} s   {size / 1e6:4.0f} MB")


@asynccontextmanager
async def _servers(folder: Path) -> AsyncIterator[Backing]:
    with closing(Guard()) as guard:
        data = DataFolder(folder / "servers")
        data.make()
        async with backing(data, guard, {"BUS": "valkey"}) as around:
            await around.started()
            yield around


async def _tried(engine: Engine, services: Sequence[FleetService], around: Backing, folder: Path) -> list[str]:
    processes = [Process(service, verb, free_port()) for service in services for verb in ("serve", *service.processes)]
    write_keys(folder / "keys", services)
    trial = Trial(engine, around, services, folder / "keys", {process.name: process.port for process in processes})
    await _all(trial.prepare(service) for service in services if service.database)
    async with AsyncExitStack() as stack:
        containers = {process: await stack.enter_async_context(trial.running(process)) for process in processes}
        seen = await _all(trial.look(process, container) for process, container in containers.items())
    return [f"{process.name:<28} {line}" for process, line in zip(processes, seen, strict=True)]


async def _all(works: Iterable[Awaitable[T]]) -> list[T]:
    """Do all side by side and wait for every one, so that nothing runs on when one of them fails."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[T], results)


def main(
    require: Annotated[bool, typer.Option(help="Fail if no container engine works on this machine.")] = False,
) -> None:
    """Build every service's image and try it."""
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="flotilla-images-") as folder:
            asyncio.run(build_and_try(repository(), Path(folder)))
    except EngineMissing as missing:
        typer.echo(f"\nNO IMAGE was built: no container engine works on this machine.\n{missing}\n", err=True)
        sys.exit(1 if require else 0)
    except (EngineFailed, ImageFaulty, ServerFailed) as failed:
        typer.echo(str(failed), err=True)
        sys.exit(1)
    typer.echo(f"All images are built and became ready ({time.monotonic() - began:.0f} s).")


if __name__ == "__main__":
    typer.run(main)
