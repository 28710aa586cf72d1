"""`make test`: the test suites side by side, as many as there are cores for, and what each took.

Each suite is a process of its own, because a process is one service and the parts of shared define different ones.
The journeys through the whole fleet (tests-e2e) start ten processes, so they run alone, after the others.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from shared.dev.fleet import fleet, repository

ALONE: Final = "tests-e2e"
AT_ONCE: Final = 2  # a suite keeps about one core busy: pytest, and the servers that it tests against
NO_TESTS: Final = 5  # pytest's exit code when the selection is empty
BUDGETS_S: Final = {ALONE: 360}
BUDGET_S: Final = 120  # of any other suite, on two cores


@dataclass(frozen=True)
class Result:
    """One suite that has run."""

    suite: str
    passed: bool
    duration_s: float
    output: str

    @property
    def over_budget(self) -> bool:
        return self.duration_s > BUDGETS_S.get(self.suite, BUDGET_S)


def all_suites(root: Path) -> list[str]:
    """Every folder with tests that is a suite: the parts of shared, each service, the journeys."""
    shared = sorted(folder for folder in (root / "shared/tests").iterdir() if any(folder.rglob("test_*.py")))
    services = [f"{service.folder}/tests" for service in fleet(root).values()]
    return [*services, *(str(folder.relative_to(root)) for folder in shared), ALONE]


async def run(root: Path, suites: Sequence[str], options: Sequence[str]) -> list[Result]:
    """Run the suites, AT_ONCE at a time, and report each as it ends."""
    turns = asyncio.Semaphore(min(AT_ONCE, os.cpu_count() or 1))

    async def one(suite: str) -> Result:
        async with turns:
            result = await _run(root, suite, options)
            _report(result)
            return result

    together = await asyncio.gather(*(one(suite) for suite in suites if suite != ALONE))
    return [*together, *[await one(suite) for suite in suites if suite == ALONE]]


async def _run(root: Path, suite: str, options: Sequence[str]) -> Result:
    started_at = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", *options, suite, cwd=root,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    passed = process.returncode in (0, NO_TESTS)
    return Result(suite, passed, time.monotonic() - started_at, output.decode(errors="replace"))


def _report(result: Result) -> None:
    """A suite that failed is shown whole; of one that passed, its servers, its skips and its closing line."""
    typer.echo(f"== {result.suite}")
    lines = result.output.splitlines()
    typer.echo("\n".join(lines if not result.passed else _without_progress(lines)))


def _without_progress(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line.strip() and not line.rstrip().endswith("%]")]


def _summarize(results: Iterable[Result]) -> None:
    typer.echo("\nseconds  suite")
    for result in sorted(results, key=lambda each: -each.duration_s):
        budget = f"  (over its budget of {BUDGETS_S.get(result.suite, BUDGET_S)} s)" if result.over_budget else ""
        failed = "  FAILED" if not result.passed else ""
        typer.echo(f"{result.duration_s:7.0f}  {result.suite}{budget}{failed}")


def main(
    suites: Annotated[list[str] | None, typer.Argument(help="Folders of tests; unset: all.")] = None,
    long: Annotated[bool, typer.Option("--long", help="Run only the tests marked `long`.")] = False,
) -> None:
    """Run test suites side by side, and print what each took."""
    options = ["-m", "long" if long else "not long"]
    root = repository()
    results = asyncio.run(run(root, suites or all_suites(root), options))
    _summarize(results)
    raise typer.Exit(0 if all(result.passed for result in results) else 1)


if __name__ == "__main__":
    typer.run(main)
