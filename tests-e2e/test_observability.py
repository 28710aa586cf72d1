"""What operators see: health and metrics of every process, and one trace through all of them."""

import json
import secrets
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest
from people import Town

from shared.dev.launcher.child_process import Child
from shared.dev.launcher.running_fleet import Fleet, process_of
from shared.testing import eventually

CSV: Final = b"city,boats\nKiel,12\n"
SERVING: Final = ("auth", "users", "chat", "chat-2", "tasks", "worker", "worker-2", "gateway", "gateway-2")
NEEDED: Final = {
    "auth": {"database", "keys", "revocations"},
    "users": {"database"},
    "chat": {"database", "keys", "revocations"},
    "tasks": {"database", "keys", "revocations"},
    "worker": {"database"},
    "gateway": {"keys", "revocations"},
}
"""What readiness asks for: never the broker or the cache, whose absence changes no answer."""


def inside(child: Child) -> str:
    """Where the process tells operators about itself: the gateway on its admin port only."""
    url = child.command.url or ""
    admin = child.command.environment.get("ADMIN__PORT")
    return f"{url.rpartition(':')[0]}:{admin}" if process_of(child.name) == "gateway" else url


@pytest.mark.parametrize("name", SERVING)
async def test_every_process_tells_how_it_is(fleet: Fleet, name: str) -> None:
    child, needed = fleet.children[name], NEEDED[process_of(name)]
    async with httpx2.AsyncClient(timeout=10) as http:
        alive = await http.get(f"{child.command.url}/livez")
        assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
        for path in ("/readyz", "/health"):
            ready = await http.get(f"{child.command.url}{path}")
            assert (ready.status_code, ready.json()["status"]) == (200, "ok")
            assert needed <= ready.json()["checks"].keys()
            assert ready.json()["checks"].keys().isdisjoint({"bus", "cache"})
        detailed = (await http.get(f"{inside(child)}/health/detailed")).json()
        assert {"cache"} | needed <= detailed["checks"].keys()
        if process_of(name) == "gateway":
            assert {"auth", "users", "chat", "tasks"} <= detailed["checks"].keys()
        assert all(check["duration_ms"] >= 0 for check in detailed["checks"].values())
        metrics = await http.get(f"{inside(child)}/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        for wanted in ("http_request", "process_cpu_seconds_total", "process_resident_memory_bytes", "loop_lag"):
            assert wanted in metrics.text, wanted
        config = (await http.get(f"{inside(child)}/config")).json()
        assert config["environment"] == "development"
        assert fleet.around.folder.secret("database") not in json.dumps(config)


@pytest.mark.parametrize("path", ["/health/detailed", "/metrics", "/config"])
async def test_the_gateways_insides_are_not_for_clients(town: Town, path: str) -> None:
    for url in town.urls:
        assert (await town.http.get(url + path)).status_code == 404


async def test_one_trace_joins_everything_about_a_job(fleet: Fleet, town: Town) -> None:
    ann = await town.founder()
    trace_id = secrets.token_hex(16)
    traced = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    upload = await ann.post("/api/v1/files", 201, files={"file": ("boats.csv", CSV, "text/csv")}, headers=traced)
    given = {"file_id": upload.json()["id"], "operation": "csv_profile"}
    submit = await ann.at(1).post("/api/v1/jobs", 202, json={"kind": "file_processing", "input": given}, headers=traced)
    job = submit.json()["id"]
    await ann.job_ended(job)
    told = await ann.notified(job)

    def seen() -> bool:
        lines = list(traced_lines(fleet, trace_id))
        return all(any(fits(line, wanted) for line in lines) for wanted in expected)

    expected: list[dict[str, Any]] = [
        {"process": "gateway", "event": "request", "method": "POST", "route": "/api/v1/files", "status": 201},
        {"process": "users", "event": "request", "method": "POST", "route": "/api/v1/files", "status": 201},
        {"process": "gateway-2", "event": "request", "method": "POST", "route": "/api/v1/jobs", "status": 202},
        {"process": "tasks", "event": "request", "method": "POST", "route": "/api/v1/jobs", "status": 202},
        {"event": "job_attempt", "job_id": job, "attempt": 1, "outcome": "completed"},
        {"process": "users", "event": "request", "method": "GET", "route": "/api/v1/files/{file_id}/content"},
        {"event": "event_handled", "event_type": "job.completed.v1", "how": "handled"},
        {"event": "notification_stored", "notification": told["id"], "kind": "job.completed"},
    ]
    await eventually(seen, within_s=10, every_s=0.1, saying=f"one trace joins {expected}")
    requests = {upload.headers["x-request-id"], submit.headers["x-request-id"]}
    assert {line["request_id"] for line in traced_lines(fleet, trace_id) if "request_id" in line} == requests


def traced_lines(fleet: Fleet, trace_id: str) -> Iterator[dict[str, Any]]:
    """The log lines of the trace over all processes, each with the name of its process."""
    for file in fleet.around.folder.logs.glob("*.log"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if trace_id in line:
                yield json.loads(line) | {"process": file.stem}


def fits(line: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(line.get(name) == value for name, value in wanted.items())
