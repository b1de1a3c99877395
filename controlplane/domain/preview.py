"""The short form of a plan: what `POST /v1/rollouts:preview` answers and a person reads before saying yes."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from controlplane.domain.emergencies import PlannedEmergency
from controlplane.domain.plans import AppliedRule, Exclusion, Note, Peak, Plan, ResolvedLimits, Waiting, WayBackCounts
from controlplane.domain.wire import Wire

LISTED = 100
"""So many exclusions and waits are listed; the counts say how many there are, the targets' page lists all."""


class WaveSummary(Wire):
    """One wave in a line."""

    name: str
    targets: int
    expected_from: datetime
    expected_by: datetime


class Preview(Wire):
    """The plan's summary."""

    plan_hash: str
    kind: str
    release: str | None
    strategy: str
    targets: int
    from_versions: dict[str, int] = Field(alias="from")
    waves: tuple[WaveSummary, ...]
    limits: ResolvedLimits
    way_back: WayBackCounts
    peak: Peak
    waiting_for: tuple[Waiting, ...]
    waiting_count: int
    excluded: tuple[Exclusion, ...]
    excluded_count: int
    notes: tuple[Note, ...]
    rules: tuple[AppliedRule, ...] = ()
    emergency: PlannedEmergency | None
    targets_url: str


def preview_of(plan: Plan, targets_url: str) -> Preview:
    """Summarise a plan. `targets_url`: where all of its targets are listed."""
    return Preview(
        plan_hash=plan.plan_hash,
        kind=plan.kind,
        release=f"{plan.app}/{plan.release}" if plan.release else None,
        strategy=plan.strategy,
        targets=plan.size,
        from_versions=plan.from_versions,
        waves=tuple(
            WaveSummary(name=w.name, targets=len(w.targets), expected_from=w.expected_from, expected_by=w.expected_by)
            for w in plan.waves
        ),
        limits=plan.limits,
        way_back=plan.way_back,
        peak=plan.peak,
        waiting_for=plan.waiting_for[:LISTED],
        waiting_count=len(plan.waiting_for),
        excluded=plan.excluded[:LISTED],
        excluded_count=len(plan.excluded),
        notes=plan.notes,
        rules=plan.rules,
        emergency=plan.emergency,
        targets_url=targets_url,
    )
