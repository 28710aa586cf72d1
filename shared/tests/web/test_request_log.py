"""The line of a request: JSON for stdout is encoded apart from all other lines, and is the same line."""

import json
from typing import Any

import httpx2
import pytest

from shared.testing.people import People
from shared.testing.running import running_service


@pytest.fixture
def formats(service: Any, settings_values: dict[str, Any]) -> dict[str, Any]:
    """The service with each format of its log."""
    settings = {name: settings_values | {"log": {"format": name}} for name in ("json", "console")}
    return {
        name: service.create_app(service.settings(_env_file=None, **values), events=False)
        for name, values in settings.items()
    }


async def test_a_json_line_has_what_structlog_would_write(
    formats: dict[str, Any],
    as_user: People,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    headers = as_user("ann", scopes=[]) | {"X-Request-ID": "mine"}
    for app in formats.values():
        async with running_service(app) as url, httpx2.AsyncClient(base_url=url) as client:
            assert (await client.get("/pages/01890a5d-ac96-774b-bcce-b302099a8057", headers=headers)).status_code == 403
    written = capsys.readouterr().out.splitlines()
    [line] = [json.loads(line) for line in written if line.startswith("{") and '"request_id":"mine"' in line]
    [structured] = [record.msg for record in caplog.records if '"mine"' in json.dumps(record.msg, default=str)]

    assert line.keys() == structured.keys()
    varying = ("timestamp", "duration_ms", "trace_id", "service")
    assert [(name, line[name]) for name in sorted(line) if name not in varying] == [
        (name, structured[name]) for name in sorted(structured) if name not in varying
    ]
    assert (line["event"], line["route"], line["status"], line["code"]) == (
        "request", "/pages/{page_id}", 403, "insufficient_scope",
    )  # fmt: skip
    assert (line["user"], line["service"]) == (str(as_user.id("ann")), "probe")


async def test_health_checks_are_observed_and_not_logged(
    formats: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_service(formats["json"]) as url, httpx2.AsyncClient(base_url=url) as client:
        assert (await client.get("/livez")).status_code == 200
        await client.get("/nowhere")
        metrics = (await client.get("/metrics")).text
    assert 'flotilla_http_request_duration_seconds_count{method="GET",route="/livez",status="200"}' in metrics
    written = capsys.readouterr().out
    assert '"route":"unmatched"' in written
    assert "/livez" not in written
