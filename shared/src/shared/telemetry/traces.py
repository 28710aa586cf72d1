"""OpenTelemetry traces: a provider always (without one there is no trace id), an exporter only where one is wanted.

A request has a span of its own only if that span is exported; otherwise it continues the trace of its `traceparent`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Final

from opentelemetry import context, trace
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.settings import TelemetrySettings

_EXPORT: Final = "shared.telemetry.trace_export:export"  # imported only where an endpoint is set
Headers = Sequence[tuple[bytes, bytes]]

_propagator = TraceContextTextMapPropagator()


class _RawHeaders(Getter[Headers]):
    """Reads the headers of an ASGI scope."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        name = key.encode()
        return [value.decode("latin-1") for header, value in carrier if header == name] or None

    def keys(self, carrier: Headers) -> list[str]:
        return [header.decode("latin-1") for header, _ in carrier]


_RAW_HEADERS: Final = _RawHeaders()


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


def is_sampled(headers: Headers) -> bool:
    """Whether a request's span would be recorded: its `traceparent` says so, or it starts a trace."""
    if not _has_parent(headers):
        return True
    context_of_caller = trace.get_current_span(_propagator.extract(headers, getter=_RAW_HEADERS)).get_span_context()
    return not context_of_caller.is_valid or bool(context_of_caller.trace_flags & TraceFlags.SAMPLED)


def follow(headers: Headers) -> None:
    """Continue the trace of a request without a span, or start one: for the task of the request, until its end."""
    found = _propagator.extract(headers, getter=_RAW_HEADERS) if _has_parent(headers) else context.get_current()
    if not trace.get_current_span(found).get_span_context().is_valid:
        found = trace.set_span_in_context(_new_trace(), found)
    context.attach(found)


def _has_parent(headers: Headers) -> bool:
    return any(name == b"traceparent" for name, _ in headers)


def _new_trace() -> Span:
    """The root of a trace that only other processes may record: no span is exported here."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return trace.INVALID_SPAN
    trace_id = provider.id_generator.generate_trace_id()
    sampled = provider.sampler.should_sample(None, trace_id, "request").decision is Decision.RECORD_AND_SAMPLE
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(trace_id, provider.id_generator.generate_span_id(), False, flags))


def trace_id() -> str | None:
    """The current trace as its 32 hexadecimal digits; None outside of a trace."""
    current = trace.get_current_span().get_span_context()
    return f"{current.trace_id:032x}" if current.is_valid else None


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
