"""A request continues its caller's trace; it has a span of its own only where spans are exported."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from shared.settings import TelemetrySettings
from shared.telemetry import traces
from shared.testing.running import running_service

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = (f"00-{TRACE_ID}-{SPAN_ID}-{flags}" for flags in ("01", "00"))

Serve = Callable[..., AbstractAsyncContextManager[httpx2.AsyncClient]]


class Started(SpanProcessor):
    """The spans that were started since `spans` was emptied."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self.spans.append(span)


@pytest.fixture
def serve(service: Any, settings_values: dict[str, Any]) -> Serve:
    @asynccontextmanager
    async def client(endpoint: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
        values = settings_values | {"log": {"format": "console"}, "telemetry": {"otlp_endpoint": endpoint}}
        app = service.create_app(service.settings(_env_file=None, **values), events=False)
        async with running_service(app) as url, httpx2.AsyncClient(base_url=url) as opened:
            yield opened

    return client


@pytest.fixture(scope="module")
def recorder() -> Started:
    started = Started()
    traces.configure(TelemetrySettings(), "probe").add_span_processor(started)
    return started


@pytest.fixture
def started(recorder: Started) -> Started:
    recorder.spans.clear()
    return recorder


def logged(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The line of the last request to an unknown path."""
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return next(line for line in reversed(lines) if line["event"] == "request" and line["status"] == 404)


@pytest.mark.parametrize("parent", [SAMPLED, UNSAMPLED])
async def test_without_an_exporter_a_request_continues_its_trace_without_a_span(
    serve: Serve, started: Started, caplog: pytest.LogCaptureFixture, parent: str
) -> None:
    async with serve() as client:
        started.spans.clear()  # those of the start
        await client.get("/nowhere", headers={"traceparent": parent})
        assert logged(caplog)["trace_id"] == TRACE_ID
        assert started.spans == []


@pytest.mark.parametrize("sent", [{}, {"traceparent": "00-0-0-01"}, {"traceparent": f"00-{'0' * 32}-{SPAN_ID}-01"}])
async def test_a_request_without_a_trace_starts_one(
    serve: Serve, caplog: pytest.LogCaptureFixture, sent: dict[str, str]
) -> None:
    async with serve() as client:
        seen = set()
        for _ in range(2):
            await client.get("/nowhere", headers=sent)
            seen.add(logged(caplog)["trace_id"])
    assert len(seen) == 2
    assert all(len(trace_id) == 32 and int(trace_id, 16) for trace_id in seen)


async def test_with_an_exporter_a_sampled_request_has_a_span(
    serve: Serve, started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve("http://127.0.0.1:9") as client:
        started.spans.clear()
        await client.get("/nowhere", headers={"traceparent": UNSAMPLED, "X-Request-ID": "quiet"})
        assert (logged(caplog)["trace_id"], started.spans) == (TRACE_ID, [])
        await client.get("/nowhere", headers={"traceparent": SAMPLED, "X-Request-ID": "mine"})
        assert logged(caplog)["trace_id"] == TRACE_ID
    [span] = started.spans
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE_ID, SPAN_ID)
    assert span.attributes is not None
    assert span.attributes["flotilla.request_id"] == "mine"
