"""Spans of sampled requests where an exporter is configured; otherwise the gateway only forwards `traceparent`."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.http.exchange import Exchange

_propagator = TraceContextTextMapPropagator()


class Spans:
    """One span per sampled request; the service continues the trace from it."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("gateway")

    def begin(self, exchange: Exchange) -> Span | None:
        """Start a span if the exchange's trace is sampled, and make it the parent of the service's spans."""
        if not int(exchange.traceparent[-1], 16) & TraceFlags.SAMPLED:
            return None
        parent = _propagator.extract({"traceparent": exchange.traceparent})
        span = self._tracer.start_span(exchange.method, context=parent, kind=SpanKind.SERVER)
        context = span.get_span_context()
        exchange.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        return span

    def end(self, span: Span, exchange: Exchange) -> None:
        """End the span with the exchange's outcome; never its query, which may hold a ticket."""
        span.update_name(f"{exchange.method} {exchange.route_name}")
        span.set_attributes(
            {
                "http.request.method": exchange.method,
                "http.route": exchange.route_name,
                "http.response.status_code": exchange.status,
                "http.request_id": exchange.request_id,
            }
        )
        if exchange.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()
