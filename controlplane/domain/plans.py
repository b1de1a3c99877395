"""The frozen plan of a rollout: which target goes when, what is left out and why, and every limit as a number."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from pydantic import Field

from controlplane.domain.emergencies import PlannedEmergency
from controlplane.domain.names import digest_of
from controlplane.domain.quantities import Amount, Duration, Money
from controlplane.domain.strategies import GateSpec, OnBlame, OnFailure, Percent, Soak, WhenBusy, Windows
from controlplane.domain.targets import RolloutKind
from controlplane.domain.wire import Wire

PLAN_SCHEMA_VERSION: Final = 1

WayBackKind = Literal["reapply", "restore", "none"]


class WayBack(Wire):
    """How a target goes back, known before it goes forward. `revision`: the verified one it goes back to, or gives up for good
    (`none`); 0 if it has none.

    `data_loss` is set for `restore`: so much of the newest data is lost at most.
    """

    kind: WayBackKind
    revision: int = 0
    data_loss: Duration | None = None
    reason: str = ""


class PlannedTarget(Wire):
    """One target in its wave. `base_revision` is what it must still run when its turn comes (0: nothing)."""

    tenant: str
    environment: str
    cluster: str
    region: str
    tier: str
    from_version: str | None
    base_revision: int
    content: str
    orders_per_hour: Amount = Decimal(0)
    money_at_risk: Amount = Field(default=Decimal(0), description="In the reporting currency; 0: nothing, or unknown.")
    brand: str = ""
    region_pair: str = ""
    way_back: WayBack

    @property
    def key(self) -> tuple[str, str]:
        """(tenant, environment)."""
        return self.tenant, self.environment

    @property
    def gives_up(self) -> bool:
        """Whether it has a verified revision and can't return to it: not for a first installation, which gives nothing up."""
        return self.way_back.kind == "none" and self.way_back.revision > 0


class ResolvedSuccess(Wire):
    """A wave's success rule in numbers. `min_percent` remembers a percent, for when targets leave the wave."""

    min: int = Field(ge=1)
    min_percent: Percent | None = None
    max_failures: int = Field(ge=0)
    progress_deadline: Duration
    disturbance_limit: Duration = timedelta(hours=1)


class PlannedWave(Wire):
    """One wave: its targets in the order they start, its gates, and when it should run if nothing waits.

    `takes`: how long one target needs at most (90th percentile, with its soak); `lasts`: the whole wave.
    """

    name: str
    targets: tuple[PlannedTarget, ...]
    soak: Soak
    before: tuple[GateSpec, ...] = ()
    before_each: tuple[GateSpec, ...] = ()
    after: tuple[GateSpec, ...] = ()
    success: ResolvedSuccess
    expected_from: datetime
    expected_by: datetime
    takes: Duration = timedelta(0)
    lasts: Duration = timedelta(0)


class ResolvedLimits(Wire):
    """The limits in numbers: of targets, of orders per hour (`exposure`), of money in the reporting currency.

    A cluster, region, pair or brand that is not named has no limit of its own.
    """

    in_flight: int = Field(ge=1)
    unverified: int = Field(ge=1)
    per_cluster: dict[str, int] = Field(default_factory=dict)
    per_region: dict[str, int] = Field(default_factory=dict)
    per_region_pair: dict[str, int] = Field(default_factory=dict)
    per_brand: dict[str, int] = Field(default_factory=dict)
    exposure: int | None = None
    money_at_risk: Amount | None = None


class Exclusion(Wire):
    """A selected target that the plan leaves out, and why. `until`: when the reason ends by itself."""

    tenant: str
    environment: str
    code: str
    detail: str
    until: datetime | None = None


class Waiting(Wire):
    """A planned target that will have to wait: for a window, a slot, quota; `who` can end it, if a person can."""

    tenant: str
    environment: str
    gate: str
    reason: str
    until: datetime | None = None
    who: str | None = None


class Note(Wire):
    """Something a person should know about the plan as a whole."""

    code: str
    detail: str


class AppliedRule(Wire):
    """A risk rule that is true of tenants in the selection (or could not be evaluated for them), and what it does to the plan."""

    rule: str = Field(description="`name@version`.")
    effect: str = Field(description="refuse, approval, strategy, require, gate; unclear: it could not be evaluated.")
    reason: str
    tenants: int
    examples: tuple[str, ...] = ()


class WayBackCounts(Wire):
    """How many targets have which way back."""

    reapply: int = 0
    restore: int = 0
    none: int = 0


class Peak(Wire):
    """The most that can be at stake at one moment: upper bounds, not forecasts."""

    in_flight: int
    unverified: int
    orders_per_hour: Amount
    money_at_risk: Money | None = None


class Plan(Wire):
    """A rollout's plan, frozen. Targets may leave it, never join it.

    `plan_hash` covers content, order, limits (with gates, soak, success and failure policy) and base revisions
    (with ways back); not the times, not what was left out.
    """

    schema_version: Literal[1] = PLAN_SCHEMA_VERSION
    kind: RolloutKind
    app: str
    environment: str
    release: str | None
    digest: str | None
    selector: str
    strategy: str
    made_at: datetime
    not_before: datetime | None = None
    waves: tuple[PlannedWave, ...]
    excluded: tuple[Exclusion, ...]
    waiting_for: tuple[Waiting, ...]
    limits: ResolvedLimits
    during: tuple[GateSpec, ...]
    windows: Windows
    on_failure: OnFailure
    max_failures: int | None = Field(
        default=None, description="Failed targets the whole rollout bears; null: no limit."
    )
    when_busy: WhenBusy
    blame: OnBlame = "stop"
    from_versions: dict[str, int] = Field(alias="from")
    way_back: WayBackCounts
    peak: Peak
    notes: tuple[Note, ...]
    rules: tuple[AppliedRule, ...] = ()
    plan_hash: str
    emergency: PlannedEmergency | None = None

    @property
    def size(self) -> int:
        """How many targets it has."""
        return sum(len(wave.targets) for wave in self.waves)

    def targets(self) -> tuple[PlannedTarget, ...]:
        """All targets in the order of their waves."""
        return tuple(target for wave in self.waves for target in wave.targets)

    def giving_up(self) -> tuple[PlannedTarget, ...]:
        """Targets that start only with a person's word on it. Never those of a rollback, which is what was asked for."""
        return () if self.kind == "rollback" else tuple(target for target in self.targets() if target.gives_up)


def hash_of(
    *,
    kind: str,
    release: str | None,
    digest: str | None,
    waves: tuple[PlannedWave, ...],
    limits: ResolvedLimits,
    during: tuple[GateSpec, ...],
    windows: Windows,
    on_failure: OnFailure,
    rules: tuple[str, ...] = (),
    blame: OnBlame = "stop",
) -> str:
    """Hash what binds: content, order, limits, base revisions, ways back, and the risk rules that applied (`name@version`).

    Times and exclusions don't count.
    """
    content = {
        "schemaVersion": PLAN_SCHEMA_VERSION,
        "change": [kind, release, digest],
        "limits": limits.model_dump(mode="json"),
        "policy": [
            windows.model_dump(mode="json"),
            on_failure.model_dump(mode="json"),
            list(during),
            *([blame] if blame != "stop" else []),
        ],
        "waves": [
            {
                "name": wave.name,
                "rules": wave.model_dump(mode="json", include={"soak", "before", "before_each", "after", "success"}),
                "targets": [
                    [
                        t.tenant,
                        t.environment,
                        t.cluster,
                        t.base_revision,
                        t.content,
                        t.way_back.kind,
                        t.way_back.revision,
                    ]
                    for t in wave.targets
                ],
            }
            for wave in waves
        ],
    }
    return digest_of({**content, "rules": list(rules)} if rules else content)
