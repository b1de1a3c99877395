"""Series written into a Prometheus at any time, also last week: OTLP over HTTP, to its receiver.

Protocol: https://opentelemetry.io/docs/specs/otlp/#otlphttp, https://prometheus.io/docs/guides/opentelemetry/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import httpx
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics

NO_RECORDED_VALUE = 1
"""DataPointFlags: the series has ended here; Prometheus makes a staleness marker of it."""


@dataclass(frozen=True)
class Written:
    """One series: its name as the exporter has it, labels, and (time, value); None ends the series."""

    name: str
    points: Sequence[tuple[datetime, float | None]]
    labels: Mapping[str, str] = field(default_factory=dict)


def write(url: str, series: Iterable[Written]) -> None:
    """Write them all; raises AssertionError with Prometheus' words if it refuses any."""
    metrics = [Metric(name=one.name, gauge=Gauge(data_points=_points(one))) for one in series]
    body = ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=metrics)])]
    )
    answer = httpx.post(
        f"{url}/api/v1/otlp/v1/metrics",
        content=body.SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
        timeout=30,
        trust_env=False,
    )
    assert answer.is_success, f"{answer.status_code} {answer.text}"


def _points(one: Written) -> list[NumberDataPoint]:
    labels = [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in one.labels.items()]
    return [
        NumberDataPoint(
            attributes=labels,
            time_unix_nano=int(at.timestamp() * 1e9),
            as_double=math.nan if value is None else value,
            flags=NO_RECORDED_VALUE if value is None else 0,
        )
        for at, value in one.points
    ]
