"""Prometheus metrics of a process. Labels are bounded: route templates, known methods, status classes; never a tenant or an id."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

HTTP_REQUESTS = Counter("seawall_http_requests", "Answered HTTP requests.", ("method", "route", "status"))
HTTP_SECONDS = Histogram(
    "seawall_http_request_seconds",
    "Time from the first byte of a request to the last of its answer, in seconds.",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
HTTP_IN_FLIGHT = Gauge("seawall_http_requests_in_flight", "HTTP requests that are being answered now.")


def exposition() -> tuple[bytes, str]:
    """Everything this process counts, and its content type."""
    return generate_latest(), CONTENT_TYPE_LATEST
