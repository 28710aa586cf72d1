"""The access log."""

from typing import Any

import httpx2
import pytest

from shared.testing.waiting import eventually

SIGNED = "/api/v1/rooms/7/messages"


async def test_the_log_has_a_line_per_request_and_no_credentials(
    open_edge: Any, sign_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    edge = await open_edge(log={"level": "INFO", "format": "json"})
    headers = sign_in("ann", tenant="acme") | {"X-Request-ID": "find-me"}
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        await client.get(SIGNED, headers=headers)
        await client.get(SIGNED, headers={"Authorization": "Bearer a-wrong-token"})
        await client.get("/api/v1/files/1/content?ticket=hush-hush")
        await client.get("/livez", headers={"X-Request-ID": "a-probe"})
    shown = ""

    def written() -> bool:
        nonlocal shown
        shown += capsys.readouterr().out
        return "/api/v1/files/{file_id}/content" in shown

    await eventually(written)
    assert "hush-hush" not in shown
    assert headers["Authorization"].removeprefix("Bearer ") not in shown
    assert "a-wrong-token" not in shown
    assert "a-probe" not in shown
    line = next(line for line in shown.splitlines() if "find-me" in line)
    for part in ('"route":"/api/v1/rooms"', '"status":200', '"user":"', '"tenant":"', '"trace_id":"', '"duration_ms":'):
        assert part in line
