"""API priority and fairness: where the API server put our calls, and how long it wants quiet there.

The server says with each answer which flow schema and priority level a call fell into (headers `X-Kubernetes-PF-FlowSchema-UID` and
`X-Kubernetes-PF-PriorityLevel-UID`, https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#diagnostics). A 429
means that this level had no room; calls that fall into another one need not wait. Without the headers all calls are one level.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from controlplane.adapters.kubernetes.call_metrics import BUSY, PRIORITY

_SCHEMA, _LEVEL = "X-Kubernetes-PF-FlowSchema-UID", "X-Kubernetes-PF-PriorityLevel-UID"
_DEPLOYER = ":seawall-deployer"

type Flow = tuple[str, bool]
"""Who calls (deployers are one), and whether it only reads: what decides about the level."""


def flow_of(method: str, headers: Mapping[str, str]) -> Flow:
    """Which of our flows a call belongs to."""
    user = headers.get("Impersonate-User", "")
    return ("deployer" if user.endswith(_DEPLOYER) else user, method == "GET")


class Fairness:
    """What one API server said of its levels."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._levels: dict[Flow, str] = {}
        self._busy_until: dict[str, float] = {}

    def answered(self, flow: Flow, status: int, headers: Mapping[str, str]) -> None:
        """Note where a call fell."""
        level = headers.get(_LEVEL, "")
        self._levels[flow] = level
        if level:
            PRIORITY.labels(self._cluster, headers.get(_SCHEMA, ""), level).inc()
        if status == 429:
            BUSY.labels(self._cluster, level).inc()

    def quiet(self, flow: Flow, seconds: float) -> None:
        """Note that the level in which this flow's last call fell wants quiet."""
        level = self._levels.get(flow, "")
        self._busy_until[level] = max(self._busy_until.get(level, 0.0), time.monotonic() + seconds)

    def wait(self, flow: Flow) -> float:
        """Seconds until a call of this flow may leave; 0 or less: now. A flow never seen waits for whatever is busy."""
        now = time.monotonic()
        if flow in self._levels:
            return self._busy_until.get(self._levels[flow], 0.0) - now
        return max(self._busy_until.values(), default=0.0) - now
