"""The trace that a piece of work belongs to, as W3C Trace Context; OpenTelemetry's API only, so it is nothing until an SDK is set up."""

from __future__ import annotations

from opentelemetry import propagate, trace


def current_trace_id() -> str:
    """The current trace id as 32 hex digits, or an empty string outside any trace."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else ""


def trace_headers() -> dict[str, str]:
    """Headers that carry the current trace to whoever handles this next (traceparent, tracestate)."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier
