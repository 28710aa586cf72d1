"""Spans at the gateway: for sampled requests, continuing the client's trace, naming the route and no ids."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.edge.tracing import Spans

PARENT = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


@pytest.mark.parametrize(("flags", "spans"), [("01", 1), ("00", 0)])
async def test_a_sampled_request_has_a_span_that_the_service_continues(
    edge: Any, client: Any, sign_in: Any, flags: str, spans: int
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    edge.gateway.edge.spans = Spans(provider)
    headers = sign_in("ann") | {"traceparent": f"00-{PARENT}-{flags}"}
    reply = await client.get("/api/v1/rooms/7/messages?ticket=x", headers=headers)
    seen = dict(reply.json()["headers"])["traceparent"]
    finished = exporter.get_finished_spans()
    assert len(finished) == spans
    if not spans:
        assert seen == headers["traceparent"]
        return
    span = finished[0]
    assert span.name == "GET /api/v1/rooms"
    assert seen == f"00-{PARENT[:32]}-{span.context.span_id:016x}-01"
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 200
    assert "ticket" not in str(span.attributes)
