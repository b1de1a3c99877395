"""The trace that a piece of work belongs to, as W3C Trace Context; OpenTelemetry's API only, so it is nothing until an SDK is set up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

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


@contextmanager
def linked_span(name: str, headers: Mapping[str, str]) -> Iterator[None]:
    """Work in a span of its own that links to where a message came from: it is answered long before this work ends."""
    origin = trace.get_current_span(propagate.extract(dict(headers))).get_span_context()
    links = [trace.Link(origin)] if origin.is_valid else []
    with trace.get_tracer("seawall").start_as_current_span(name, links=links):
        yield
