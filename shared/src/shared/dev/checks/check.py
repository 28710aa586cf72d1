"""`make check`: everything that CI checks besides tests, side by side, each with the remedy of an error."""

import asyncio
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import typer

from shared.dev import vendor
from shared.dev.checks import conformance, contracts, docs_references, event_flow, manifests, phrases
from shared.dev.fleet import fleet, repository
from shared.dev.generate import differences
from shared.dev.generate.blocks import BlockInvalid
from shared.dev.servers.binaries import postgres_binaries
from shared.dev.servers.guard import Guard
from shared.dev.servers.postgres import Postgres

Check = Callable[[Path], Awaitable[str]]
"""Looks at the repository; the report of what is wrong, empty when nothing is."""


async def _run(root: Path, *command: str, env: dict[str, str] | None = None) -> str:
    """The command's output where it failed, else nothing."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=root, env={**os.environ, **(env or {})},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return output.decode(errors="replace") if process.returncode else ""


async def _lint(root: Path) -> str:
    return await _run(root, "-m", "ruff", "check", ".") + await _run(root, "-m", "ruff", "format", "--check", ".")


async def _types(root: Path) -> str:
    folders = ["shared", *(service.folder for service in fleet(root).values())]
    return await _run(root, "-m", "mypy", *(f"{folder}/src" for folder in folders))


async def _imports(root: Path) -> str:
    return await _run(root, "-c", "from importlinter.cli import lint_imports_command as main; main()")


async def _contracts(root: Path) -> str:
    changed = await asyncio.to_thread(contracts.differences, root)
    return "".join(f"{name} differs from the code; run: make contracts\n" for name in changed)


async def _generated(root: Path) -> str:
    try:
        changed = differences(root)
    except BlockInvalid as invalid:
        return f"{invalid}\n"
    report = [f"{name} differs from the fleet's list in pyproject.toml; run: make generate\n" for name in changed]
    report += [f"{name} differs from the published file; run: make vendor\n" for name in vendor.differences(root)]
    return "".join(report)


async def _manifests(root: Path) -> str:
    return "".join(await asyncio.to_thread(lambda: [f"{line}\n" for line in manifests.failures(root)]))


async def _docs(root: Path) -> str:
    found = await asyncio.to_thread(lambda: docs_references.errors(root) + conformance.errors(root))
    return "".join(f"{line}: does not exist; correct the page\n" for line in found)


async def _phrases(root: Path) -> str:
    return "".join(f"{line}\n" for line in await asyncio.to_thread(phrases.errors, root))


async def _events(root: Path) -> str:
    return "".join(f"{line}\n" for line in event_flow.errors(root))


async def _migrations(root: Path) -> str:
    """Migrate each service's empty database, and compare what came out with the models."""
    with tempfile.TemporaryDirectory() as folder, closing(Guard()) as guard:
        password = secrets.token_urlsafe(12)
        server = Postgres(Path(folder) / "postgres", guard, postgres_binaries(), password=password, durable=False)
        await server.start()
        try:
            services = [service for service in fleet(root).values() if service.database]
            return "".join(
                await asyncio.gather(*(_migrated(root, service.package, server.url) for service in services))
            )
        finally:
            await server.stop()


async def _migrated(root: Path, package: str, admin_url: str) -> str:
    login = f"postgresql://flotilla:{secrets.token_urlsafe(12)}@{admin_url.rpartition('@')[2]}"
    env = {"ENVIRONMENT": "testing", "DATABASE_URL": login, "DATABASE_OWNER_URL": admin_url}
    for verb in (("db", "create"), ("migrate",), ("db", "check")):
        if report := await _run(root, "-m", package, *verb, env=env):
            return f"{package} {' '.join(verb)}:\n{report}"
    return ""


CHECKS: dict[str, Check] = {
    "types": _types,
    "migrations": _migrations,
    "contracts": _contracts,
    "lint": _lint,
    "imports": _imports,
    "docs": _docs,
    "phrases": _phrases,
    "events": _events,
    "generated": _generated,
    "manifests": _manifests,
}


async def check(root: Path, at_once: int = 2) -> bool:
    """Run every check, a line each as it ends; whether all hold."""
    turns = asyncio.Semaphore(at_once)

    async def one(name: str, look: Check) -> bool:
        async with turns:
            began = time.monotonic()
            report = await look(root)
            typer.echo(f"{'FAIL' if report else ' ok '} {name} ({time.monotonic() - began:.0f} s)")
            if report:
                typer.echo(report)
            return not report

    return all(await asyncio.gather(*(one(name, look) for name, look in CHECKS.items())))


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(check(repository())) else 1)
