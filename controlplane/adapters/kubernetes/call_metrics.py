"""What an operator sees of calls to API servers. Labels are bounded: clusters, HTTP methods, outcomes; never a namespace."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

CALL_SECONDS = Histogram(
    "seawall_cluster_call_seconds",
    "Calls to a cluster's API server, in seconds; outcome is ok, refused (4xx), busy (429), failed (5xx) or broken (no answer).",
    ("cluster", "method", "outcome"),
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BUSY = Counter(
    "seawall_cluster_busy",
    "Answers 429 of an API server, by the priority level that had no room (its uid, as the server names it).",
    ("cluster", "priority_level"),
)
PRIORITY = Counter(
    "seawall_cluster_calls_by_priority",
    "Calls to an API server by the flow schema and priority level it put them in (their uids).",
    ("cluster", "flow_schema", "priority_level"),
)
WATCH_LIVE = Gauge(
    "seawall_cluster_watch_live", "1 while all watches of the cluster echo their heartbeats, else 0.", ("cluster",)
)
RELISTS = Counter(
    "seawall_cluster_lists", "Lists that a watch began with or had to begin again with.", ("cluster", "kind")
)


def outcome_of(status: int) -> str:
    """The outcome label of an answered call."""
    if status < 400:
        return "ok"
    return "busy" if status == 429 else ("failed" if status >= 500 else "refused")
