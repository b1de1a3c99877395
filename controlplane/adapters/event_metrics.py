"""Metrics of the relay, of events in and of webhooks. Labels are bounded: outcomes and queues, never names that people choose."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

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
