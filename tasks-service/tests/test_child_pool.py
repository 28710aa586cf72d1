"""The worker's child processes: real ones, killed and broken."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import orjson
import psutil
import pytest

from shared.testing import eventually
from tasks_service.kinds.data_operations import process
from tasks_service.kinds.problems import ChildDied, FieldNotNumeric
from tasks_service.worker.pool.child_pool import ChildFailed, ChildPool

ROWS = {"operation": "sum", "field": "a", "parameters": {}, "max_bytes": 1000, "rows": [{"a": 1}, {"a": 2}]}


def _silent(percent: float, message: str | None) -> None:
    return None


@pytest.fixture
async def children() -> AsyncIterator[ChildPool]:
    async with ChildPool(1).opened() as opened:
        yield opened


async def test_work_comes_back_and_the_process_stays(children: ChildPool) -> None:
    before = _pids()
    for _ in range(3):
        assert orjson.loads(await children.run(process, ROWS, _silent))["result"] == 3
    assert _pids() == before


async def test_a_problem_of_the_work_is_the_same_problem_here(children: ChildPool) -> None:
    with pytest.raises(FieldNotNumeric, match="Row 1 has no number in 'a'"):
        await children.run(process, {**ROWS, "rows": [{"a": "x"}]}, _silent)


async def test_the_unforeseen_fails_the_work_and_not_the_process(children: ChildPool) -> None:
    with pytest.raises(ChildFailed):
        await children.run(process, {**ROWS, "nonsense": 1}, _silent)
    assert orjson.loads(await children.run(process, ROWS, _silent))["result"] == 3


async def test_a_killed_child_fails_its_work_and_is_replaced(children: ChildPool, tmp_path: Any) -> None:
    [pid] = _pids()
    working = asyncio.create_task(children.run(process, _long(tmp_path), _silent))
    await eventually(lambda: psutil.Process(pid).cpu_times().user > 0.5, saying="the child works")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ChildDied):
        await working
    assert orjson.loads(await children.run(process, ROWS, _silent))["result"] == 3


async def test_a_child_killed_while_idle_is_nobodys_failure(children: ChildPool) -> None:
    [pid] = _pids()
    os.kill(pid, signal.SIGKILL)
    [child] = children._idle
    await eventually(lambda: child.returncode is not None, saying="the child's end is known")
    assert orjson.loads(await children.run(process, ROWS, _silent))["result"] == 3


async def test_cancelled_work_leaves_no_process_behind(children: ChildPool, tmp_path: Any) -> None:
    told = asyncio.Event()
    work = asyncio.create_task(children.run(process, _long(tmp_path), lambda _percent, _message: told.set()))
    await told.wait()
    [pid] = _pids()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not psutil.pid_exists(pid)


async def test_a_child_ends_with_its_worker_in_the_middle_of_its_work(children: ChildPool, tmp_path: Any) -> None:
    """What a killed worker leaves is a closed pipe; the child sees it though it calculates."""
    told = asyncio.Event()
    work = asyncio.create_task(children.run(process, _long(tmp_path), lambda _percent, _message: told.set()))
    await told.wait()
    [child] = children._all  # the pipe's end that only the worker has
    assert child.stdin is not None
    child.stdin.close()
    with pytest.raises(ChildDied):
        await work


def _long(folder: Any) -> dict[str, Any]:
    """A minute of work."""
    file = folder / "long.csv"
    file.write_text("a\n" + "1\n" * 20_000_000)
    asked = {key: value for key, value in ROWS.items() if key != "rows"}
    return {**asked, "path": str(file), "content_type": "text/csv"}


def _pids() -> list[int]:
    return [
        child.pid
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "tasks_service.worker.pool.child" in child.cmdline()
    ]
