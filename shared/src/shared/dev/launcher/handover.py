"""Two launchers on one data folder: a service that runs alone joins a fleet that leaves it out.

`make run-chat` and `make up WITHOUT=chat` work in either order. The fleet needs the folder with its servers, so a
service that ran alone before ends with its own servers, and starts again with the environment that the fleet wrote.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Collection
from typing import Final

from shared.dev.launcher.data_folder import DataFolder, RunningFleet

JOIN: Final = signal.SIGUSR1
"""Asks the launcher of a single service to free its data folder, and to join the fleet that starts there."""
_START_S: Final = 120.0


async def ask_to_join(folder: DataFolder, without: Collection[str], say: Callable[[str], None]) -> None:
    """Ask the service that runs alone to join a fleet without it; returns when the folder is free.

    Returns as well, with the folder in use, if another fleet or service runs there.
    """
    running = await running_launcher(folder)
    if running is None or running.alone not in without:
        return
    say(f"{running.alone} is running alone; it stops there and joins this fleet …")
    os.kill(running.pid, JOIN)
    await _until(lambda: folder.running() is None)


async def running_launcher(folder: DataFolder) -> RunningFleet | None:
    """What runs on the folder; None if nothing does. A launcher that is starting is waited for."""
    await _until(lambda: (running := folder.running()) is None or running.announced)
    return folder.running()


async def left_out(folder: DataFolder, process: str) -> bool:
    """Wait for a fleet that leaves `process` out; False if none has started within two minutes."""
    return await _until(lambda: (running := folder.running()) is not None and process in running.without)


async def _until(condition: Callable[[], bool]) -> bool:
    """Wait until the condition holds; False after two minutes."""
    end = time.monotonic() + _START_S
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.1)
    return True
