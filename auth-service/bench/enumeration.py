"""Whether known and unknown accounts are told apart by time.

    .venv/bin/python auth-service/bench/enumeration.py [--rounds 40]

It starts the fleet on free ports and sends each request by turns about an account that exists and about one that does
not: a sign-in with a wrong password, a password reset, a reactivation, a sign-in link. Printed are the medians, the
quartiles, and the difference of the medians beside the spread. tests/test_enumeration.py compares the work (hashes,
statements, mails).
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from typing import Annotated, Any, Final

import httpx2
import typer

from shared.dev.bench import calibration_s
from shared.dev.fleet import repository
from shared.dev.launcher.logs import Screen
from shared.dev.launcher.running_fleet import Fleet, Plan, running_fleet

_SERVERS: Final = ("DATABASE_URL", "REDIS_URL", "AMQP_URL", "BUS_URL")
_PASSWORD: Final = "Sail-away-7"  # noqa: S105 - of people who exist while this runs

REQUESTS: Final[dict[str, Callable[[str], tuple[str, dict[str, Any]]]]] = {
    "sign-in": lambda name: ("/auth/login", {"username": name, "password": "Wrong-word-1"}),
    "reset": lambda name: ("/auth/password/reset", {"email": f"{name}@example.com"}),
    "reactivation": lambda name: ("/auth/reactivate", {"email": f"{name}@example.com"}),
    "sign-in link": lambda name: ("/auth/magic-link", {"email": f"{name}@example.com"}),
}


async def measure(run: Fleet, rounds: int) -> None:
    url = str(run.children["auth"].command.url)
    async with httpx2.AsyncClient(timeout=60) as http:
        for number in range(rounds):
            name = f"known{number}"
            body = {"username": name, "email": f"{name}@example.com", "password": _PASSWORD}
            tenant = {"confirm_password": _PASSWORD, "tenant": {"name": name, "slug": name}}
            (await http.post(f"{url}/auth/register", json=body | tenant)).raise_for_status()
        for what, request in REQUESTS.items():
            took: dict[str, list[float]] = {"known": [], "unknown": []}
            for number in range(rounds):
                for kind, found in took.items():
                    path, sent = request(f"{kind}{number}")
                    began = time.perf_counter()
                    reply = await http.post(url + path, json=sent)
                    found.append((time.perf_counter() - began) * 1000)
                    if reply.status_code not in (202, 401):
                        raise SystemExit(f"{path} was answered {reply.status_code}: {reply.text}")
            known, unknown = quantiles(took["known"]), quantiles(took["unknown"])
            spread = max(known[2] - known[0], unknown[2] - unknown[0])
            typer.echo(
                f"{what:<13} known {known[1]:6.1f} ms ({known[0]:.1f}-{known[2]:.1f})   "
                f"unknown {unknown[1]:6.1f} ms ({unknown[0]:.1f}-{unknown[2]:.1f})   "
                f"difference {known[1] - unknown[1]:+5.2f} ms, spread {spread:.2f} ms"
            )


async def run_all(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="flotilla-enumeration-") as name:
        environment = {key: value for key, value in os.environ.items() if key not in _SERVERS}
        screen = Screen(sys.stderr)
        screen.quiet = True
        plan = Plan(repository(), Path(name) / "data", free_ports=True, environment=environment)
        async with running_fleet(plan, screen) as run:
            await measure(run, rounds)


def main(
    rounds: Annotated[int, typer.Option(min=10, help="How many accounts of each kind are asked about.")] = 40,
) -> None:
    """Measure, and print the times."""
    typer.echo(f"calibration loop: {calibration_s():.2f} s of CPU")
    asyncio.run(run_all(rounds))


if __name__ == "__main__":
    typer.run(main)
