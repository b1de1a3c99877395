"""metric: a PromQL query with a threshold, for all tenants of a wave at once.

The query gives one value, or one per tenant (label `tenant`). `{since}` in it is replaced by the seconds since the wave began, `{tenants}` by
a regular expression of the tenants it has changed. A verdict needs enough measurements: none never passes. What can't be measured (no answer,
no series, NaN, a sample that is too old) is `unknown`, never health and never the release's fault.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.quantities import Duration
from controlplane.domain.wire import Wire
from controlplane.ports.gates import Evidence, GatePorts, GateScene, MetricsError, Series


class UnknownLimit(Wire):
    """How long it may stay unknown, and what then."""

    seconds: float = Field(default=600, ge=1)
    then: Literal["hold", "fail"] = "hold"


class MetricSpec(Wire):
    """`{"metric": {"query": "...", "max": 0.01}}`; exactly one of `max` and `min`."""

    query: str = Field(min_length=1, max_length=4000, description="PromQL; `{tenants}` and `{since}` are filled in.")
    max: float | None = Field(default=None, description="A value above this is bad.")
    min: float | None = Field(default=None, description="A value below this is bad.")
    interval: Duration = Field(default=timedelta(seconds=15), description="Time between two looks.")
    samples: int = Field(default=3, ge=1, le=1000, description="Good looks in a row that a pass needs.")
    failures: int = Field(default=1, ge=1, le=100, description="Bad looks in a row that fail it.")
    stale: Duration = Field(default=timedelta(minutes=2), description="An older sample is no measurement.")
    unknown: UnknownLimit = Field(default_factory=UnknownLimit)

    @model_validator(mode="after")
    def _one_threshold(self) -> MetricSpec:
        if (self.max is None) == (self.min is None):
            raise ValueError("give exactly one of max and min")
        return self

    def bad(self, value: float) -> bool:
        """Whether a value breaks the threshold."""
        return value > self.max if self.max is not None else value < (self.min or 0.0)

    @property
    def limit(self) -> str:
        """The threshold as people write it."""
        return f"> {self.max:g}" if self.max is not None else f"< {self.min:g}"


class MetricGate:
    """See the module."""

    kind = "metric"
    spec = MetricSpec

    def interval(self, spec: MetricSpec) -> float:
        """As the spec says."""
        return spec.interval.total_seconds()

    async def observe(self, spec: MetricSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Ask once for all tenants; the keeper adds the looks before this one."""
        query = filled(spec.query, scene)
        if ports.metrics is None:
            return {"query": query, "error": "no metric source is configured", "values": []}
        try:
            found = await ports.metrics.query(query, scene.now)
        except MetricsError as error:
            return {"query": query, "error": str(error), "values": []}
        return {"query": query, "values": [_value(one) for one in found]}

    def judge(self, spec: MetricSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """Judge this look together with those before it (`evidence["looks"]`, oldest first)."""
        look = read(spec, evidence, scene.now)
        looks = [*evidence.get("looks", []), look["is"]]
        if look["is"] == "unknown":
            return Judged(Verdict.UNKNOWN, look["reason"], look="unknown")
        bad_in_a_row = _tail(looks, "bad")
        if bad_in_a_row >= spec.failures:
            return Judged(Verdict.FAIL, look["reason"], tenants=tuple(look["tenants"]), look=look["is"])
        good_in_a_row = _tail(looks, "good")
        if good_in_a_row >= spec.samples:
            return Judged(Verdict.PASS, f"{look['reason']}, {good_in_a_row} looks in a row", look=look["is"])
        return Judged(Verdict.WAIT, f"{look['reason']}; {good_in_a_row} of {spec.samples} good looks", look=look["is"])


def filled(query: str, scene: GateScene) -> str:
    """The query with its placeholders filled in."""
    tenants = "|".join(re.escape(tenant) for tenant in scene.changed) or "__none__"
    seconds = max(1, int((scene.now - scene.since).total_seconds()))
    return query.replace("{tenants}", tenants).replace("{since}", f"{seconds}s")


def read(spec: MetricSpec, evidence: Evidence, now: datetime) -> dict[str, Any]:
    """What one look says: good, bad (with the tenants to blame) or unknown, with a reason."""
    if evidence.get("error"):
        return {"is": "unknown", "reason": f"could not measure: {evidence['error']}", "tenants": []}
    values = evidence["values"]
    if not values:
        return {"is": "unknown", "reason": "the query gives no series", "tenants": []}
    names = [value["tenant"] for value in values]
    if len(values) > 1 and (not all(names) or len(set(names)) < len(names)):
        return {
            "is": "unknown",
            "reason": f"the query gives {len(values)} series that no tenant label tells apart",
            "tenants": [],
        }
    unusable = [v for v in values if v["value"] is None or datetime.fromisoformat(v["at"]) + spec.stale < now]
    if unusable:
        return {
            "is": "unknown",
            "reason": f"{len(unusable)} of {len(values)} samples are NaN or too old",
            "tenants": [],
        }
    worst = sorted(values, key=lambda v: v["value"], reverse=spec.max is not None)
    bad = [v for v in worst if spec.bad(v["value"])]
    if bad:
        whom = f" ({', '.join(v['tenant'] for v in bad[:3])})" if bad[0]["tenant"] else ""
        return {
            "is": "bad",
            "reason": f"{bad[0]['value']:g} {spec.limit}{whom}",
            "tenants": [v["tenant"] for v in bad if v["tenant"]],
        }
    return {"is": "good", "reason": f"{worst[0]['value']:g} is within the limit ({spec.limit} fails)", "tenants": []}


def _value(one: Series) -> dict[str, Any]:
    value = None if math.isnan(one.value) or math.isinf(one.value) else one.value
    return {"tenant": one.labels.get("tenant", ""), "value": value, "at": one.at.isoformat()}


def _tail(looks: Sequence[str], what: str) -> int:
    count = 0
    for look in reversed(looks):
        if look != what:
            break
        count += 1
    return count
