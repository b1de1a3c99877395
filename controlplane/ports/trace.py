"""The trace that a piece of work belongs to, as W3C Trace Context; OpenTelemetry's API only, so it is nothing until an SDK is set up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import Context

_TRACER = trace.get_tracer("seawall")


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
def span(name: str, **ids: str | int) -> Iterator[None]:
    """Work in a span of the current trace. `ids` become `seawall.<name>` attributes: names and numbers, never values or secrets.

    An error is noted by its kind alone: its words may hold what somebody wrote.
    """
    with _opened(name, None, ids):
        yield


@contextmanager
def continued_span(name: str, headers: Mapping[str, str], **ids: str | int) -> Iterator[None]:
    """Work in a span that continues the trace a message or a row carries; a trace of its own where it carries none."""
    with _opened(name, propagate.extract({key.lower(): value for key, value in headers.items()}), ids):
        yield


@contextmanager
def _opened(name: str, parent: Context | None, ids: Mapping[str, str | int]) -> Iterator[None]:
    attributes = {f"seawall.{key}": value for key, value in ids.items()}
    with _TRACER.start_as_current_span(
        name, context=parent, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise
