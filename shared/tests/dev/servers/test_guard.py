"""kill -9 of who holds the guard leaves no process behind."""

import signal
import sys
from pathlib import Path

import psutil
import pytest

from shared.dev.servers.binaries import rabbitmq_binary
from shared.dev.servers.guard import MARK, Guard, lives, marked
from shared.testing import eventually
from shared.testing.processes import ended, output, started

_HOLDER = """
import asyncio, subprocess, sys
from pathlib import Path
from shared.dev.servers.binaries import postgres_binaries
from shared.dev.servers.guard import Guard
from shared.dev.servers.postgres import Postgres
from shared.dev.servers.rabbitmq import RabbitMQ
from shared.dev.servers.valkey import Valkey

async def main(folder, names):
    guard = Guard()
    servers = {
        "postgres": lambda: Postgres(folder / "pg", guard, postgres_binaries(), password="x", durable=False),
        "valkey": lambda: Valkey(folder / "valkey", guard),
        "rabbitmq": lambda: RabbitMQ(folder / "rabbit", guard),
    }
    for name in names:
        await servers[name]().start()
    # one that leaves its group at once, as epmd does, and one that does not hear SIGTERM
    subprocess.Popen(["sleep", "600"], env=guard.environment({}), start_new_session=True)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    guard.watch(subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True).pid)
    print(guard.mark, guard.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
"""


# A program, and no shell: one whose parent ignores SIGINT (a job in the background) could not trap it.
_TELLS = """
import signal, sys, time
from pathlib import Path
told, stop = Path(sys.argv[1]), signal.Signals(int(sys.argv[2]))

def tell(number, frame):
    told.write_text(stop.name)
    sys.exit()

signal.signal(stop, tell)
told.write_text("up")
time.sleep(600)
"""


async def test_kill_9_of_the_holder_leaves_nothing(tmp_path: Path) -> None:
    names = ["postgres", "valkey", *(["rabbitmq"] if rabbitmq_binary() else [])]
    folder = tmp_path / "with a space"
    holder = started(sys.executable, "-c", _HOLDER, str(folder), *names)
    line = output(holder).readline().split()
    mark, guard_pid = line[0].decode(), int(line[1])
    family = psutil.Process(holder.pid).children(recursive=True)
    everyone = {process.pid: process for process in [*family, *marked(mark)]}
    assert len(everyone) >= len(names) + 3
    assert guard_pid in everyone

    ended(holder)
    await eventually(
        lambda: not [process for process in everyone.values() if lives(process)], within_s=25, saying="all have ended"
    )


async def test_what_was_forgotten_is_left_alone(guard: Guard) -> None:
    other = started("sleep", "600")
    guard.watch(other.pid)
    guard.forget(other.pid)
    guard.close()
    assert other.poll() is None
    ended(other)


def test_the_mark_is_in_the_environment_that_children_get(guard: Guard) -> None:
    assert guard.environment({"A": "b"}) == {"A": "b", MARK: guard.mark}


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_group_gets_the_signal_that_ends_it(tmp_path: Path, guard: Guard, stop: signal.Signals) -> None:
    told = tmp_path / "told"
    child = started(sys.executable, "-c", _TELLS, str(told), str(int(stop)))
    guard.watch(child.pid, stop)
    await eventually(lambda: told.is_file() and told.read_text() == "up")
    guard.close()
    ended(child)
    assert told.read_text() == stop.name
