"""What the worker counts."""

from prometheus_client import Counter, Gauge, Histogram

RUNNING = Gauge("flotilla_jobs_running", "Jobs that this worker runs now.")
SETTLED = Counter("flotilla_job_attempts_total", "Attempts by how they ended.", ["kind", "outcome"])
DURATION = Histogram(
    "flotilla_job_attempt_duration_seconds",
    "How long an attempt took.",
    ["kind"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
)
START_DELAY = Histogram(
    "flotilla_job_start_delay_seconds",
    "From the time a job was due to its start.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 300),
)
DUE = Gauge("flotilla_jobs_due", "Jobs that could run and wait for a worker.")
WAITING = Gauge("flotilla_jobs_waiting", "Jobs that wait, those for a later time included.")
OLDEST_DUE = Gauge("flotilla_jobs_oldest_due_seconds", "How long the oldest due job has waited.")
REAPED = Counter("flotilla_jobs_reaped_total", "Leases that ran out.")
