"""Spans sent to an OpenTelemetry collector. Only a process with an endpoint imports this module (traces.py)."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def export(provider: TracerProvider, endpoint: str) -> None:
    """Send the spans of `provider`, with one for each statement, to the OTLP receiver at `endpoint`."""
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    AsyncPGInstrumentor().instrument(tracer_provider=provider)  # type: ignore[no-untyped-call]  # the package has no types here
