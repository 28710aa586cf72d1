"""What a storm of sign-ins does to everything else at auth-service.

    .venv/bin/python auth-service/bench/sign_in_storm.py [--sign-ins 100] [--seconds 15]

It starts the fleet on free ports with passwords hashed as in production. 100 people sign in at the same time, each
again as soon as the answer is there; after a 503 of the full queue they wait as `Retry-After` says. Beside the storm,
`/livez` is read and a session refreshed 20 times a second each, before it and during it. Printed are the delays of both
(p50, p99), what the storm adds to them, the sign-ins, and the peak memory of the service.
"""

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Annotated, Any, Final

import httpx2
import psutil
import typer

from shared.dev.bench import calibration_s
from shared.dev.fleet import repository
from shared.dev.launcher.logs import Screen
from shared.dev.launcher.running_fleet import Fleet, Plan, running_fleet

ADDED_P99_MS: Final = 100.0
_SERVERS: Final = ("DATABASE_URL", "REDIS_URL", "AMQP_URL", "BUS_URL")
_PASSWORD: Final = "Sail-away-7"  # noqa: S105 - of people who exist while this runs
_PROBE_EVERY_S: Final = 0.05


@dataclass
class Delays:
    """How long the probes took, in milliseconds."""

    livez: list[float] = field(default_factory=list)
    refresh: list[float] = field(default_factory=list)


@dataclass
class Storm:
    blowing: bool = True
    signed_in: int = 0
    refused: int = 0
    peak_mib: float = 0.0


def p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]


def p50(values: list[float]) -> float:
    return quantiles(values, n=2)[0]


async def register(http: httpx2.AsyncClient, url: str, number: int) -> str:
    name = f"storm{number}"
    body = {"username": name, "email": f"{name}@example.com", "password": _PASSWORD, "confirm_password": _PASSWORD}
    tenant = {"tenant": {"name": name, "slug": name}}
    reply = await http.post(f"{url}/auth/register", json=body | tenant)
    reply.raise_for_status()
    return name


async def probe(http: httpx2.AsyncClient, url: str, token: list[str], seconds: float) -> Delays:
    """Read /livez and refresh one session, each every 50 ms however long the answers take."""
    delays, waiting = Delays(), []

    async def timed(found: list[float], call: Any) -> httpx2.Response:
        began = time.perf_counter()
        reply: httpx2.Response = await call
        reply.raise_for_status()
        found.append((time.perf_counter() - began) * 1000)
        return reply

    async def refresh() -> None:
        body = {"refresh_token": token[0]}  # a concurrent one gets the same successor: the grace window
        reply = await timed(delays.refresh, http.post(f"{url}/auth/refresh", json=body))
        token[0] = reply.json()["refresh_token"]

    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        waiting += [
            asyncio.create_task(timed(delays.livez, http.get(f"{url}/livez"))),
            asyncio.create_task(refresh()),
        ]
        await asyncio.sleep(_PROBE_EVERY_S)
        await waiting[-1]  # one refresh after another: a person's browser has one at a time
    await asyncio.gather(*waiting)
    return delays


async def sign_in(http: httpx2.AsyncClient, url: str, name: str, service: psutil.Process, storm: Storm) -> None:
    """Sign the person in again and again, until the storm is over."""
    while storm.blowing:
        reply = await http.post(f"{url}/auth/login", json={"username": name, "password": _PASSWORD})
        storm.peak_mib = max(storm.peak_mib, service.memory_info().rss / 2**20)
        if reply.status_code == 200:
            storm.signed_in += 1
        elif reply.status_code == 503:
            storm.refused += 1
            await asyncio.sleep(float(reply.headers["Retry-After"]))
        else:
            raise SystemExit(f"a sign-in was answered {reply.status_code}: {reply.text}")


async def measure(run: Fleet, sign_ins: int, seconds: float) -> None:
    url = str(run.children["auth"].command.url)
    process = psutil.Process(run.children["auth"].pid)
    limits = httpx2.Limits(max_connections=sign_ins + 20, max_keepalive_connections=sign_ins + 20)
    async with httpx2.AsyncClient(timeout=60, limits=limits) as http:
        names = [await register(http, url, number) for number in range(sign_ins)]
        reply = await http.post(f"{url}/auth/login", json={"username": names[0], "password": _PASSWORD})
        token = [reply.raise_for_status().json()["refresh_token"]]
        before_mib = process.memory_info().rss / 2**20
        calm = await probe(http, url, token, seconds)
        storm = Storm()
        async with asyncio.TaskGroup() as people:
            for name in names:
                people.create_task(sign_in(http, url, name, process, storm))
            await asyncio.sleep(1)  # every sign-in is under way
            stormy = await probe(http, url, token, seconds)
            storm.blowing = False
    for what in ("livez", "refresh"):
        before, during = getattr(calm, what), getattr(stormy, what)
        added = p99(during) - p99(before)
        verdict = "ok" if added <= ADDED_P99_MS else "MISSED"
        typer.echo(
            f"{what:<8} p50 {p50(before):6.1f} -> {p50(during):6.1f} ms   "
            f"p99 {p99(before):6.1f} -> {p99(during):6.1f} ms   "
            f"added at p99 {added:6.1f} ms (target {ADDED_P99_MS:.0f}) {verdict}"
        )
    typer.echo(f"sign-ins {storm.signed_in}, refused with 503 {storm.refused}, in {seconds:.0f} s")
    typer.echo(f"memory   {before_mib:.0f} MiB before, peak {storm.peak_mib:.0f} MiB")


async def run_all(sign_ins: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="flotilla-storm-") as name:
        environment = {key: value for key, value in os.environ.items() if key not in _SERVERS}
        screen = Screen(sys.stderr)
        screen.quiet = True
        plan = Plan(repository(), Path(name) / "data", free_ports=True, environment=environment)
        async with running_fleet(plan, screen) as run:
            await measure(run, sign_ins, seconds)


def main(
    sign_ins: Annotated[int, typer.Option(min=1, help="How many people sign in at the same time.")] = 100,
    seconds: Annotated[float, typer.Option(min=5, help="How long each measurement is.")] = 15,
) -> None:
    """Measure, and print the figures beside their targets."""
    typer.echo(f"calibration loop: {calibration_s():.2f} s of CPU")
    asyncio.run(run_all(sign_ins, seconds))


if __name__ == "__main__":
    typer.run(main)
