"""The spec of a control-group gate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from controlplane.domain.quantities import Duration
from controlplane.domain.wire import Wire
from controlplane.gates.metric import UnknownLimit

QUERY = (
    "PromQL, one series per tenant (label `tenant`); `{window}` becomes the length of a look or of a period of history."
)


class HarmSpec(Wire):
    """Which effects to look for, as factors of the rate (or of the duration)."""

    least: float = Field(default=1.2, gt=1, le=10, description="A smaller factor is nobody's business.")
    usual: float = Field(default=1.75, gt=1, le=20, description="About where a harmful release is expected.")

    @model_validator(mode="after")
    def _in_order(self) -> HarmSpec:
        if self.usual <= self.least:
            raise ValueError("usual must be more than least")
        return self


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that both sides are compared by: its queries, of bad events and of all, or of durations only."""

    kind: Literal["counts", "durations"]
    bad: str | None
    volume: str | None


class HardLimit(Wire):
    """What holds where there is nobody to compare with: the treated tenants' own rate (bad per volume) or duration."""

    max: float = Field(gt=0)


class ControlGroupSpec(Wire):
    """`{"control-group": {"bad": "...", "volume": "..."}}` for counts, `{"control-group": {"duration": "..."}}` for durations; or both."""

    bad: str | None = Field(default=None, min_length=1, max_length=4000, description=f"Bad events. {QUERY}")
    volume: str | None = Field(default=None, min_length=1, max_length=4000, description=f"All events. {QUERY}")
    duration: str | None = Field(
        default=None,
        min_length=1,
        max_length=4000,
        description=f"A duration (a quantile, a mean; more is worse). {QUERY}",
    )
    direction: Literal["up", "down"] = Field(
        default="up", description="Which way is bad; `down`: fewer of these events (orders) than expected are the harm."
    )
    interval: Duration = Field(default=timedelta(minutes=5), description="Length of a look.")
    history: Duration = Field(default=timedelta(days=7), description="How far back a tenant's own past is read.")
    alpha: float = Field(default=0.01, gt=0, lt=0.5, description="Most probable share of good releases it ever stops.")
    harm: HarmSpec = Field(default_factory=HarmSpec)
    suspect: float = Field(default=10.0, ge=1, description="From this e-value on nothing further is dispatched.")
    min_volume: float = Field(
        default=200, ge=0, description="Events of treated tenants (looks, for durations) before it passes."
    )
    min_control: int = Field(default=3, ge=1, description="Fewer not-yet-treated tenants are no control group.")
    alone: Literal["hold", "fail"] = Field(
        default="hold", description="If one treated tenant alone carries the evidence: wait for a person, or fail."
    )
    limit: HardLimit | None = Field(default=None, description="What holds without a control group; absent: unknown.")
    source: str = Field(default="", description="Name of the metric source; empty: the default one.")
    unknown: UnknownLimit = Field(default_factory=UnknownLimit)

    @model_validator(mode="after")
    def _one_kind(self) -> ControlGroupSpec:
        counts = (self.bad is not None, self.volume is not None)
        if any(counts) != all(counts) or (self.duration is None and not any(counts)):
            raise ValueError("give bad and volume together, or duration, or all three")
        if self.duration is not None and self.direction == "down":
            raise ValueError("direction: down is for counts; a shorter duration is no harm")
        if self.interval < timedelta(seconds=1) or self.history < timedelta(days=1):
            raise ValueError("interval is at least PT1S and history at least P1D")
        return self

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What is compared; the first one explains the verdict."""
        counts = (Measure("counts", self.bad, self.volume),) if self.volume else ()
        return (*counts, *((Measure("durations", None, self.duration),) if self.duration else ()))
