"""Logs and traces of a process. Nothing leaves the machine unless an OTLP collector is configured.

Every line and every span carries the trace id that problems, audit rows and messages carry.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from controlplane.ports.trace import current_trace_id


def set_up_logging(style: str = "json") -> None:
    """Write structured lines to stderr (`json`, or `console` for people), from structlog and from the libraries' loggers."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_trace,
        structlog.processors.StackInfoRenderer(),
    ]
    last: structlog.typing.Processor = (
        # Not the pretty kind of traceback: it prints local variables, and with them secrets.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if style == "console"
        else structlog.processors.JSONRenderer(default=str)
    )
    rendering = [structlog.processors.format_exc_info, last] if style != "console" else [last]
    structlog.configure(
        processors=[*shared, *rendering],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering]
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def set_up_tracing(service: str, otlp_endpoint: str = "") -> TracerProvider:
    """Give every request and step a trace id; send spans to `otlp_endpoint` (OTLP over HTTP) if there is one."""
    known = trace.get_tracer_provider()
    if isinstance(known, TracerProvider):
        return known
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint)))
    trace.set_tracer_provider(provider)
    return provider


def _with_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    found = current_trace_id()
    if found:
        event["traceId"] = found
    return event
