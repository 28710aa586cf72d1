"""Prometheus metrics that every process has; a slice adds its own next to what it measures. Labels are bounded."""

import asyncio
import time
from pathlib import Path
from typing import Final

import psutil
from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Histogram(
    "flotilla_http_request_duration_seconds",
    "Time from the request's head to the end of the response.",
    ["method", "route", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("flotilla_http_requests_in_flight", "Requests in progress.")
TASK_RESTARTS = Counter("flotilla_task_restarts_total", "Restarts of background tasks after a failure.", ["task"])
LOOP_FAILURES = Counter("flotilla_loop_failures_total", "Failed steps of background loops.", ["loop"])
LOOP_LAG = Gauge("flotilla_event_loop_lag_seconds", "Lag of the event loop.")
DISK_FREE = Gauge("flotilla_disk_free_bytes", "Free disk space in the working directory.")
CPU_PERCENT = Gauge("flotilla_process_cpu_percent", "CPU use since the last sample; 100 is one core.")
POOL_IN_USE = Gauge("flotilla_db_pool_in_use", "Database connections checked out of the pool.", ["role"])

_SAMPLE_S: Final = 5.0


class ProcessSampler:
    """Samples the process that made it: in development the module is imported before the process is forked."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    async def sample(self) -> None:
        """Refresh the process's gauges after a sleep; how late it ends is the event loop's lag."""
        before = time.perf_counter()
        await asyncio.sleep(_SAMPLE_S)
        LOOP_LAG.set(max(0.0, time.perf_counter() - before - _SAMPLE_S))
        DISK_FREE.set(psutil.disk_usage(str(Path.cwd())).free)
        CPU_PERCENT.set(self._process.cpu_percent())
