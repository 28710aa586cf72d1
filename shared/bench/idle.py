"""What an idle fleet costs: time to ready, CPU, memory, and what each process spends on its imports.

    .venv/bin/python shared/bench/idle.py [--windows 3] [--seconds 60] [--settle 20]

It starts the whole fleet on free ports with a data folder of its own, as the first `make up` after an installation
does, so a fleet that runs on this machine keeps running. Nothing is sent to it. After it has settled, the CPU time
(user and system, from /proc) of every process is read around each window: services, worker, mail catcher, PostgreSQL
with its backends, Valkey, the process that the services are forks of, and the launcher, which is this process. Memory
is PSS, in which a page shared by n processes counts as 1/n. The import time is the CPU time of `python -m <package>
<verb>` without any setting: it ends once it has imported everything and read its settings. Results: median and range
of the windows, beside the targets.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import psutil
import typer

from shared.dev.bench import calibration_s, cpu_s, spread
from shared.dev.fleet import FleetService, fleet, processes, repository
from shared.dev.launcher.forked_process import ForkServer
from shared.dev.launcher.logs import Screen
from shared.dev.launcher.running_fleet import Fleet, Plan, running_fleet

IDLE_PERCENT: Final = 3.0
PSS_MIB: Final = 70.0
READY_S: Final = 8.0
_IMPORT_RUNS: Final = 3
_SERVERS: Final = ("DATABASE_URL", "REDIS_URL", "AMQP_URL", "BUS_URL")

Usage = Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """One figure of every process, by its name; for CPU, one such mapping a window."""

    ready_s: float
    start_cpu_s: Usage
    pss_mib: Usage
    windows: Sequence[Usage] = field(default_factory=tuple)


def roots(run: Fleet) -> dict[str, psutil.Process]:
    """The first process of each part of the fleet. Parts without a process of their own are left out."""
    pids = {name: child.pid for name, child in run.children.items()}
    pids |= {name: server.process.pid for name, server in run.backing.servers.items() if server.process}
    return {name: psutil.Process(pid) for name, pid in pids.items() if pid is not None}


def alone(run: Fleet) -> dict[str, psutil.Process]:
    """The processes whose descendants are parts of their own: this one, and the one that the services are forks of."""
    found = {"launcher": psutil.Process()}
    if isinstance(run.starter, ForkServer):
        found["fork server"] = psutil.Process(run.starter.pid)
    return found


def pss_mib(*processes: psutil.Process) -> float:
    """The proportional set size of these processes together."""
    found = 0
    for process in processes:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        found += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return found / 1024


def snapshot(run: Fleet) -> dict[str, float]:
    """The CPU seconds of each part."""
    used = {name: sum(process.cpu_times()[:2]) for name, process in alone(run).items()}
    return used | {name: cpu_s(root) for name, root in roots(run).items()}


async def window(run: Fleet, seconds: float) -> Usage:
    """The CPU of each part over `seconds`, in percent of one core."""
    before, began = snapshot(run), time.monotonic()
    await asyncio.sleep(seconds)
    after, lasted_s = snapshot(run), time.monotonic() - began
    return {name: (after[name] - before[name]) / lasted_s * 100 for name in before}


async def measure(windows: int, seconds: float, settle_s: float) -> Measured:
    """Start a fleet, wait until it is ready and settled, and measure it."""
    with tempfile.TemporaryDirectory(prefix="flotilla-idle-") as name:
        environment = {key: value for key, value in os.environ.items() if key not in _SERVERS}
        plan = Plan(repository(), Path(name) / "data", free_ports=True, environment=environment)
        screen, began = Screen(sys.stderr), time.monotonic()
        screen.quiet = True
        async with running_fleet(plan, screen) as run:
            ready_s = time.monotonic() - began
            started = snapshot(run)
            await asyncio.sleep(settle_s)
            found = [await window(run, seconds) for _ in range(windows)]
            _refuse_restarts(run)
            memory = {part: pss_mib(root, *root.children(recursive=True)) for part, root in roots(run).items()}
            memory |= {part: pss_mib(process) for part, process in alone(run).items()}
        return Measured(ready_s, started, memory, found)


def _refuse_restarts(run: Fleet) -> None:
    if died := [child.name for child in run.children.values() if child.restarts]:
        raise SystemExit(f"{', '.join(died)} ended while measured; the results do not count")


def import_cpu_s(service: FleetService, verb: str) -> float:
    """The least CPU time of several processes that end at their settings."""
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return min(_cpu_until_settings(service.package, verb, environment) for _ in range(_IMPORT_RUNS))


def _cpu_until_settings(package: str, verb: str, environment: Mapping[str, str]) -> float:
    command = [sys.executable, "-m", package, verb]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(  # noqa: S603 - a package of the fleet
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 2:
        raise SystemExit(f"{' '.join(command)} did not stop at its missing settings: {process.returncode}")
    return used.ru_utime + used.ru_stime


def main(
    windows: Annotated[int, typer.Option(min=3, help="How often the idle CPU is measured.")] = 3,
    seconds: Annotated[int, typer.Option(min=5, help="How long each time.")] = 60,
    settle: Annotated[int, typer.Option(min=0, help="Seconds between readiness and the first window.")] = 20,
) -> None:
    """Measure, and print the figures beside their targets."""
    typer.echo(f"calibration loop: {calibration_s():.2f} s of CPU")
    imports = {
        name: import_cpu_s(service, verb) for name, (service, verb) in processes(fleet(repository()).values()).items()
    }
    report(asyncio.run(measure(windows, seconds, settle)), imports)


def report(found: Measured, imports: Usage) -> None:
    """A line for each process, then the totals."""
    typer.echo(f"\n{'':12}{'idle CPU % of a core':>24}{'PSS MiB':>10}{'import CPU s':>14}{'CPU s to ready':>16}")
    for name in sorted(found.start_cpu_s, key=lambda name: (name not in imports, name)):
        cpu = spread([usage[name] for usage in found.windows], "{:.2f}")
        pss = f"{found.pss_mib[name]:.0f}" if name in found.pss_mib else "-"
        imported = f"{imports[name]:.2f}" if name in imports else "-"
        start = f"{found.start_cpu_s[name]:.2f}" if name != "launcher" else "-"
        typer.echo(f"{name:12}{cpu:>24}{pss:>10}{imported:>14}{start:>16}")
    largest = max(found.pss_mib[name] for name in imports)
    total = spread([sum(usage.values()) for usage in found.windows], "{:.2f}")
    typer.echo(f"\nidle fleet: {total} % of a core", nl=False)
    typer.echo(f" (target {IDLE_PERCENT:g})")
    typer.echo(f"ready after {found.ready_s:.1f} s on an empty data folder (target {READY_S:g})")
    typer.echo(f"largest service: {largest:.0f} MiB PSS (target {PSS_MIB:g})")


if __name__ == "__main__":
    typer.run(main)
