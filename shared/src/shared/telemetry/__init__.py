"""Logs, metrics and traces, joined by the request id and the trace id."""
