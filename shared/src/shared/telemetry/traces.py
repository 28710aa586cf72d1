"""OpenTelemetry traces: a provider always (without one there is no trace id), an exporter only where one is wanted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Final

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.settings import TelemetrySettings

_EXPORT: Final = "shared.telemetry.trace_export:export"  # imported only where an endpoint is set
_propagator = TraceContextTextMapPropagator()


def configure(settings: TelemetrySettings, service: str) -> TracerProvider:
    """The process's tracer provider, installed at the first call; shut it down at the end of the process."""
    installed = trace.get_tracer_provider()
    if isinstance(installed, TracerProvider):
        return installed
    provider = TracerProvider(
        resource=Resource.create({"service.name": f"flotilla-{service}"}),
        sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
    )
    if settings.otlp_endpoint is not None:
        export: Callable[[TracerProvider, str], None] = resolve_name(_EXPORT)
        export(provider, settings.otlp_endpoint)
    trace.set_tracer_provider(provider)
    return provider


def traceparent() -> str | None:
    """The current span as a W3C `traceparent`; None outside of a span."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def within(parent: str) -> Iterator[None]:
    """Calls inside the block continue the trace of `parent`, without a span of their own."""
    token = context.attach(_propagator.extract({"traceparent": parent}))
    try:
        yield
    finally:
        context.detach(token)


@contextmanager
def continued(name: str, parent: str | None, kind: SpanKind = SpanKind.CONSUMER) -> Iterator[Span]:
    """A span that continues the trace which a row carries (an event, a job); a new trace where it carries none."""
    carried = _propagator.extract({"traceparent": parent} if parent else {})
    with trace.get_tracer("flotilla").start_as_current_span(name, context=carried, kind=kind) as span:
        yield span
