"""A trace goes from the caller's commit through the bus to the work it woke."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controlplane.ports import trace
from controlplane.ports.leases import HeldLease
from controlplane.ports.meters import SILENT
from controlplane.ports.trace import continued_span, span, trace_headers
from workers.measured import measured


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER", provider.get_tracer("seawall"))
    yield exporter
    provider.shutdown()


def trace_id(spans: InMemorySpanExporter, name: str) -> int:
    found: list[ReadableSpan] = [s for s in spans.get_finished_spans() if s.name == name]
    assert len(found) == 1
    assert found[0].context is not None
    return int(found[0].context.trace_id)


def test_work_that_a_message_woke_belongs_to_the_callers_trace(spans: InMemorySpanExporter) -> None:
    with span("accept"):
        headers = trace_headers()
    with continued_span("wake", headers):
        pass
    assert trace_id(spans, "wake") == trace_id(spans, "accept")


@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}])
def test_a_message_without_a_trace_is_worked_on_in_one_of_its_own(
    spans: InMemorySpanExporter, headers: dict[str, str]
) -> None:
    with span("accept"):
        pass
    with continued_span("wake", headers):
        pass
    assert trace_id(spans, "wake") != trace_id(spans, "accept")


async def nothing(_lease: HeldLease, _drain: asyncio.Event) -> None:
    """Drive nothing."""


async def test_what_only_the_sweep_finds_goes_on_with_the_trace_it_was_asked_for_in(
    spans: InMemorySpanExporter,
) -> None:
    with span("accept"):
        lease = HeldLease("rollout", uuid.uuid4(), "me", 1, 0, trace=trace_headers())
    await measured("rollout", nothing, SILENT)(lease, asyncio.Event())
    assert trace_id(spans, "drive rollout") == trace_id(spans, "accept")


async def test_what_a_message_woke_goes_on_with_the_messages_trace(spans: InMemorySpanExporter) -> None:
    with span("accept"):
        lease = HeldLease("rollout", uuid.uuid4(), "me", 1, 0, trace=trace_headers())
    with span("wake"):
        await measured("rollout", nothing, SILENT)(lease, asyncio.Event())
    assert trace_id(spans, "drive rollout") == trace_id(spans, "wake")
