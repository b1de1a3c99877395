"""Metrics of the relay, of events in and of webhooks. Labels are bounded: outcomes and queues, never names that people choose."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

from controlplane.domain.event_catalogue import KNOWN
from controlplane.domain.events_out import Change

RELAY_PUBLISHED = Counter("seawall_relay_published_total", "Messages the bus confirmed.", ["stream"])
RELAY_REFUSED = Counter("seawall_relay_refused_total", "Messages the bus will never take; they were dropped.")
RELAY_FAILURES = Counter("seawall_relay_failures_total", "Publishing attempts that failed and are repeated.", ["code"])
RELAY_LAG = Histogram(
    "seawall_relay_lag_seconds",
    "From a message's commit to the bus's confirmation.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 300),
)
RELAY_DEPTH = Gauge("seawall_outbox_depth", "Messages that wait to be published (counted up to 50,000).")
RELAY_OLDEST = Gauge("seawall_outbox_oldest_seconds", "How long the oldest message has waited.")
EVENTS_IN = Counter("seawall_events_received_total", "Inbound events from the bus.", ["outcome"])
EVENTS_SETTLED = Counter("seawall_events_processed_total", "Inbound events that were looked at.")
EVENTS_OLDEST = Gauge("seawall_events_oldest_due_seconds", "How long the event that waits longest has been due.")
WAKEUPS = Counter("seawall_wakeups_total", "Wake-ups taken from the bus.", ["outcome"])
DELIVERIES = Counter("seawall_webhook_deliveries_total", "Attempts to deliver to webhooks.", ["outcome"])

CHANGES = Counter("seawall_changes_total", "Changes that the relay told of.", ["thing", "change"])
CHANGED_AT = Gauge(
    "seawall_change_timestamp_seconds",
    "When the newest change of a kind happened, as a mark for charts (times 1000 as Grafana's value for time).",
    ["thing", "change"],
)
_newest: dict[tuple[str, str], float] = {}


def begin_marks() -> None:
    """Start every count at zero, so that the first change after a start is an increase too."""
    for thing, change in KNOWN:
        CHANGES.labels(thing, change)


def mark(changes: Iterable[Change]) -> None:
    """Note what was told. Labels are those of the event catalogue; the newest time stays, whatever order they come in."""
    for one in changes:
        labels = (one.kind, one.type.split(".")[-2])
        if labels not in KNOWN:
            continue
        CHANGES.labels(*labels).inc()
        _newest[labels] = max(_newest.get(labels, 0.0), datetime.fromisoformat(one.time).timestamp())
        CHANGED_AT.labels(*labels).set(_newest[labels])
