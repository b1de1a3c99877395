"""What gates look at, and what a kind of gate is."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel

from controlplane.domain.gating import GateKey, Judged
from controlplane.domain.plans import Plan
from controlplane.ports.blames import Blames
from controlplane.ports.calendar_times import CalendarTimes
from controlplane.ports.clusters import Clusters
from controlplane.ports.endpoints import Asks, Endpoints
from controlplane.ports.expressions import Expressions
from controlplane.ports.facts import Facts
from controlplane.ports.notices import Notices
from controlplane.ports.probes import Probes
from controlplane.ports.signatures import Signatures


@dataclass(frozen=True, slots=True)
class Vote:
    """What one person said to one gate of one plan. `names`: all of hers, in lower case; a reject carries a reason."""

    person: str
    group: str
    plan_hash: str
    at: datetime
    reason: str = ""
    word: Literal["approve", "reject"] = "approve"
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Series:
    """One labelled value of an instant query; `at` is the sample's own time."""

    labels: Mapping[str, str]
    value: float
    at: datetime


@dataclass(frozen=True, slots=True)
class RangeSeries:
    """One labelled series of a range query: `points` are (Unix time in seconds, value), in order of time."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


class MetricsError(Exception):
    """The measuring system did not answer, or said that it can't: never the release's fault. The message says which."""


class Metrics(Protocol):
    """A Prometheus query API."""

    async def query(self, promql: str, at: datetime, stale: timedelta | None = None) -> Sequence[Series]:
        """Evaluate an instant query; raises `MetricsError`, also when it gives anything but a vector or a scalar.

        `stale`: an instant selector takes no sample older than this (the source's own default if None).
        """
        ...

    async def range(self, promql: str, start: datetime, end: datetime, step: timedelta) -> Sequence[RangeSeries]:
        """Evaluate at start, start + step, ... up to end; raises `MetricsError`, also when it gives no matrix."""
        ...


class Votes(Protocol):
    """Votes on record."""

    async def votes(self, rollout_id: uuid.UUID, key: GateKey) -> Sequence[Vote]:
        """Votes for a gate that were not withdrawn, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class GatePorts:
    """Everything a gate may ask. `metrics` None: no metric source is configured here; `sources`: others, by name; the others None:
    this process has none. `blames` is asked by the driver before a gate that names tenants, or an ill target, counts as failed.
    """

    votes: Votes
    metrics: Metrics | None = None
    endpoints: Endpoints | None = None
    asks: Asks | None = None
    facts: Facts | None = None
    signatures: Signatures | None = None
    expressions: Expressions | None = None
    times: CalendarTimes | None = None
    probes: Probes | None = None
    sources: Mapping[str, Metrics] = field(default_factory=dict)
    clusters: Clusters | None = None
    notices: Notices | None = None
    blames: Blames | None = None


@dataclass(frozen=True, slots=True)
class FleetNow:
    """The whole rollout as a gate may compare it: who has the release since when (soaking or verified), and who is untouched still."""

    changed: Mapping[str, datetime] = field(default_factory=dict)
    untouched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GateScene:
    """Where a gate stands: its rollout and wave, and the tenants the wave has changed so far; `wave`: all of the wave.

    `targets`: before single targets, the tenants that are asked about in this look; elsewhere none.
    `blocked`: what must come before people are asked, empty if nothing; `change_ref`, `reason`: what the rollout was started with.
    `fleet` looks at the whole rollout.
    """

    rollout_id: uuid.UUID
    key: GateKey
    plan: Plan
    requested_by: str
    authors: tuple[str, ...]
    changed: tuple[str, ...]
    since: datetime
    now: datetime
    targets: tuple[str, ...] = ()
    blocked: str = ""
    change_ref: str = ""
    reason: str = ""
    wave: tuple[str, ...] = ()
    environment: str = "production"
    fleet: Callable[[], FleetNow] = FleetNow

    @property
    def asked(self) -> tuple[str, ...]:
        """Whom a gate judges: the whole wave before it starts, those who ask before single targets, else those it has changed."""
        if self.key.place == "beforeEach":
            return self.targets
        return self.wave if self.key.place == "before" else self.changed


type Evidence = Mapping[str, Any]
"""What was measured, as JSON: stored with the verdict, shown to whoever asks why.

Before single targets, what is under `targets` (tenant -> its own evidence) is stored with that tenant's verdict alone.
"""


@runtime_checkable
class PlanGate(Protocol):
    """What a kind of gate has besides when it is looked at in planning too: it is about the release alone, no rollout is needed."""

    at_plan: bool


@runtime_checkable
class ShownGate(Protocol):
    """What a kind of gate has besides when its evidence may be too much to store: what is stored and shown of it."""

    def shown(self, spec: Any, evidence: Evidence) -> Evidence:
        """The part that says why; pure."""
        ...


class Gate[S: BaseModel](Protocol):
    """A kind of gate: measuring and judging are apart, and judging is pure."""

    kind: str
    spec: type[S]

    def interval(self, spec: S) -> float:
        """Seconds between two looks."""
        ...

    async def observe(self, spec: S, scene: GateScene, ports: GatePorts) -> Evidence:
        """Measure. What can't be measured is said in the evidence (`error`), not raised."""
        ...

    def judge(self, spec: S, scene: GateScene, evidence: Evidence) -> Judged:
        """Judge evidence at `scene.now`; pure."""
        ...


@runtime_checkable
class TargetGate(Protocol):
    """What a kind of gate has besides when it may also stand before single targets (`beforeEach`): a verdict for each."""

    def judge_each(self, spec: Any, scene: GateScene, evidence: Evidence) -> Mapping[str, Judged]:
        """Judge every tenant of `scene.targets` from one batch of evidence; pure. One that is left out counts as unknown."""
        ...
