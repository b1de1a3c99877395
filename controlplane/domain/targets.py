"""What the planner is told: facts about the release and about each target, as they are when the plan is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from controlplane.domain.fleet_limits import FleetLimits
from controlplane.domain.quantities import Money
from controlplane.domain.quota import Fit
from controlplane.domain.ruling import Ruling
from controlplane.domain.selectors import labels_of_placed
from controlplane.domain.strategies import Strategy
from controlplane.domain.windows import Attached

RolloutKind = Literal["deploy", "rollback", "values"]
DatabaseChange = Literal["none", "reversible", "forward-only", "restore-required"]
TenantPhase = Literal["onboarding", "active", "suspended", "offboarding", "offboarded"]


@dataclass(frozen=True, slots=True)
class Pin:
    """Somebody's wish that a tenant stays on what it runs, or on `version`. `until` None: until it is lifted."""

    reason: str
    owner: str
    until: datetime | None = None
    version: str | None = None

    def holds_back(self, version: str | None, now: datetime) -> bool:
        """Whether the pin forbids moving to `version` now."""
        return (self.until is None or self.until > now) and (self.version is None or self.version != version)


@dataclass(frozen=True, slots=True)
class Hold:
    """A release (by digest) that is not to be started until a person lifts the hold with a reason."""

    reason: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class TargetProblem:
    """What stands against this target and only its owner of facts knows: values refused, an immutable field."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """One environment's app of one tenant, as it is now. Revisions count from 1; 0 means there is none.

    `desired_content` is the hash of what the rollout would give this target; None when there is nothing to give
    (a rollback without a revision to return to). `busy_with` names the rollout that has the change slot. `quota`: whether the
    computed peak fits the namespace's quota. `money_at_risk` and `region_pair` are filled in by the planner.
    """

    tenant: str
    environment: str
    cluster: str
    region: str
    tier: str
    desired_content: str | None
    labels: Mapping[str, str] = field(default_factory=dict)
    orders_per_hour: Decimal = Decimal(0)
    value_per_order: Money | None = None
    money_at_risk: Decimal = Decimal(0)
    region_pair: str = ""
    current_version: str | None = None
    current_content: str | None = None
    base_revision: int = 0
    last_verified_revision: int = 0
    desired_version: str | None = None
    return_to: int | None = None
    crosses: DatabaseChange = "none"
    unrecreatable: tuple[str, ...] = ()
    pin: Pin | None = None
    hold: Hold | None = None
    phase: TenantPhase = "active"
    reachable: bool = True
    busy_with: str | None = None
    window_opens: datetime | None = None
    window_reason: str = ""
    deferred_until: datetime | None = None
    quota: Fit | None = None
    problem: TargetProblem | None = None

    @property
    def key(self) -> tuple[str, str]:
        """(tenant, environment): what makes a target one."""
        return self.tenant, self.environment

    def all_labels(self) -> dict[str, str]:
        """Give what selectors see: own labels and the built-in keys."""
        return labels_of_placed(self)

    @property
    def brand(self) -> str:
        """The value of its label `brand`; empty: it has none."""
        return self.labels.get("brand", "")

    def value_per_hour(self) -> Decimal:
        """Money at stake per hour: orders per hour times value of an order, in the tenant's own currency."""
        return self.orders_per_hour * self.value_per_order.amount if self.value_per_order else Decimal(0)


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """What the planner needs of a release. `upgrade_from` is a version range such as `>=17.0.2,<18`."""

    app: str
    version: str
    digest: str
    upgrade_from: str | None = None
    database: DatabaseChange = "none"
    risks: tuple[str, ...] = ()
    hold: Hold | None = None


Phase = Literal["preflight", "backup", "migrate", "apply", "verify", "detection", "back", "restore"]
"""The parts of a change, and the parts of an accident: until it was seen, the way back, a restore."""


@dataclass(frozen=True, slots=True)
class PhaseDuration:
    """How long a phase took in the past: median and 90th percentile, in seconds."""

    p50: float
    p90: float


@dataclass(frozen=True)
class PlanInputs:
    """Everything a plan depends on. Equal inputs, in whatever order the targets come, give equal plans.

    `release` is None for a values change that keeps each target's release, and for a rollback to the last verified
    revision. `durations` is what history says; phases without history use documented assumptions.
    `ruling`: what risk rules say of the targets; `windows`: when they are open.
    """

    kind: RolloutKind
    app: str
    environment: str
    strategy: Strategy
    strategy_name: str
    strategy_version: int
    targets: Sequence[TargetFacts]
    now: datetime
    release: ReleaseFacts | None = None
    selector: str = ""
    not_before: datetime | None = None
    durations: Mapping[Phase, PhaseDuration] = field(default_factory=dict)
    ruling: Ruling = field(default_factory=Ruling)
    windows: Attached = field(default_factory=Attached)
    fleet: FleetLimits = field(default_factory=FleetLimits)
