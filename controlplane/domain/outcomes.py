"""How changes turned out over a time: figures per fleet and per group, computed from what history holds. Pure.

The first five are those of DORA (https://dora.dev/guides/dora-metrics-four-keys/), counted per tenant: one tenant's change is one
deployment. `docs/explanation/judgement.md` defines each figure; what can't be measured is None, never a good number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal
from math import ceil
from statistics import median
from typing import Final, Literal

from pydantic import Field

from controlplane.domain.quantities import Amount, Duration, Money
from controlplane.domain.wire import Wire

type By = Literal["tenant", "tier", "brand", "app", "module"]

STARTED: Final = "target-started"
VERIFIED: Final = "target-verified"
FAILED: Final = "target-failed"
GOES_BACK: Final = "target-rolling-back"
WENT_BACK: Final = "target-rolled-back"
STUCK: Final = "target-stuck"
READ: Final = (STARTED, VERIFIED, FAILED, GOES_BACK, WENT_BACK, STUCK)
"""The changes of a target that figures are made of."""
NOT_ITS_FAULT: Final = frozenset({"aborted", "superseded", "policy"})
"""Why a target goes back although its own change was not found bad: a person's word, another rollout, its wave's policy."""
UNNAMED: Final = "unnamed"
"""The group of changes whose release names no modules, or that have no release."""
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class TargetEvent:
    """One change of one target's state, with what the figures are grouped by. `registered`: when its release was."""

    rollout: str
    tenant: str
    at: datetime
    change: str
    code: str
    app: str
    tier: str
    brand: str
    registered: datetime | None
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Untouched:
    """A target that a failed rollout never reached. `value_per_hour` in the reporting currency; None: unknown."""

    rollout: str
    tenant: str
    app: str
    tier: str
    brand: str
    value_per_hour: Decimal | None
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restorable:
    """A tenant of today, its apps, and whether a restore of its production succeeded within the last 30 days."""

    tenant: str
    tier: str
    brand: str
    apps: tuple[str, ...]
    drilled: bool


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """That a kind of gate spoke its last word in a rollout, and whether one of them said no."""

    rollout: str
    kind: str
    stopped: bool


@dataclass(slots=True)
class Attempt:
    """One start of one target and what followed."""

    first: TargetEvent
    verified: datetime | None = None
    failed: datetime | None = None
    back_from: datetime | None = None
    back_at: datetime | None = None
    stuck: bool = False


class Spread(Wire):
    """How long something took, over so many measurements."""

    count: int = Field(ge=1)
    p50: Duration
    p90: Duration = Field(description="Nearest rank: one of the measured values.")
    max: Duration


class Stopped(Wire):
    """How often a kind of gate stopped a rollout."""

    gate: str
    stood: int = Field(description="Rollouts in which it answered pass or fail.")
    stopped: int = Field(description="Rollouts in which it failed.")
    share: float = Field(description="stopped / stood")


class OutcomeGroup(Wire):
    """The figures of one group. Absent (null): nothing was measured."""

    name: str
    deployments: int = Field(description="Tenants' changes that came to an end: verified, gone back, or stuck.")
    per_day: float = Field(description="Deployments verified, and not gone back since, per day of the span.")
    failed: int
    change_failure_rate: float | None = Field(description="failed / deployments")
    lead_time: Spread | None = Field(description="From the release's registration until a tenant runs it, verified.")
    recovery_time: Spread | None = Field(
        description="From a failure until the tenant is back, or a retry in the same rollout is verified."
    )
    unrecovered: int = Field(description="Failures without a recovery yet; no time counts for them.")
    rollback_time: Spread | None = Field(description="From the beginning of the way back until the tenant is back.")
    money_not_lost: Money | None = Field(
        description="At most: see the note `money-not-lost`. Null: a value is unknown."
    )
    restore_drills: float | None = Field(
        description="Share of its tenants with a successful restore drill younger than 30 days; null: it has no tenants."
    )
    rollouts: int = Field(
        description="Rollouts that began in the span and reached one of its targets, or failed before."
    )
    gates: tuple[Stopped, ...] = Field(description="What gates answered in these rollouts.")
    manual_actions_per_rollout: float | None = Field(
        description="Acts by hand on these rollouts; null: there were none."
    )


class OutcomeNote(Wire):
    """What a figure assumes or can't say."""

    code: str
    detail: str


class Outcomes(Wire):
    """How changes turned out since a time."""

    since: datetime
    until: datetime
    by: str
    fleet: OutcomeGroup
    groups: tuple[OutcomeGroup, ...]
    gates: tuple[Stopped, ...]
    rollouts: int
    manual_actions: int = Field(description="Audit rows about these rollouts by anybody but Seawall and its triggers.")
    manual_actions_per_rollout: float | None
    restore_drills: float | None = Field(
        description="Share of tenants with a successful restore drill younger than 30 days; null: there are no tenants."
    )
    notes: tuple[OutcomeNote, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was read. `events` in the order they were recorded; `acts`: by hand, on each rollout that began, none included."""

    since: datetime
    until: datetime
    currency: str
    events: Sequence[TargetEvent]
    untouched: Sequence[Untouched]
    gates: Sequence[GateOutcome]
    acts: Mapping[str, int]
    tenants: Sequence[Restorable] = ()


NOTES: Final = (
    OutcomeNote(
        code="money-not-lost",
        detail=(
            "Sum over failed rollouts of value per hour of tenants it never reached, times the median time that tenants it did reach "
            "ran it before they were back. Assumes that each would have lost all orders for as long, and today's exposure: a bound "
            "from above."
        ),
    ),
    OutcomeNote(
        code="restore-drills",
        detail=(
            "Of active and suspended tenants' production. Who never drilled does not count as restorable, nor does a failed drill; a backup's "
            "checkedAt says it was readable, not that a tenant was restored from it. Modules have no tenants: null."
        ),
    ),
    OutcomeNote(
        code="people-and-keys",
        detail="Manual actions count whoever used a key or token: a pipeline with a key counts as a person.",
    ),
)


def outcomes(found: Recorded, by: By) -> Outcomes:
    """Compute all figures, over the fleet and per group (sorted by name; `-`: no value)."""
    attempts = attempts_of(found.events)
    names = sorted(
        {name for a in attempts for name in _names(a.first, by)}
        | {name for u in found.untouched for name in _names(u, by)}
        | {name for t in found.tenants for name in _homes(t, by) if t.drilled}
    )
    spared = _spared(attempts, found.untouched)
    parts: defaultdict[str, list[Attempt]] = defaultdict(list)
    saved: defaultdict[str, list[tuple[Untouched, Decimal | None]]] = defaultdict(list)
    for attempt in attempts:
        for name in _names(attempt.first, by):
            parts[name].append(attempt)
    for one in spared:
        for name in _names(one[0], by):
            saved[name].append(one)
    homes: defaultdict[str, list[Restorable]] = defaultdict(list)
    for tenant in found.tenants:
        for name in _homes(tenant, by):
            homes[name].append(tenant)
    reached: defaultdict[str, set[str]] = defaultdict(set)
    changes: list[TargetEvent | Untouched] = [*(a.first for a in attempts), *found.untouched]
    for change in changes:
        for name in _names(change, by):
            reached[name].add(change.rollout)
    fleet = _group("fleet", _Part(attempts, spared, found.tenants, found.acts.keys()), found)
    return Outcomes(
        since=found.since,
        until=found.until,
        by=by,
        fleet=fleet,
        groups=tuple(
            _group(name, _Part(parts[name], saved[name], homes[name], reached[name]), found) for name in names
        ),
        gates=fleet.gates,
        rollouts=fleet.rollouts,
        manual_actions=sum(found.acts.values()),
        manual_actions_per_rollout=fleet.manual_actions_per_rollout,
        restore_drills=_drilled(found.tenants),
        notes=NOTES,
    )


def attempts_of(events: Iterable[TargetEvent]) -> list[Attempt]:
    """Cut each target's changes into attempts. One whose start was not read is left out: half of it would be a wrong figure."""
    open_: dict[tuple[str, str], Attempt] = {}
    made: list[Attempt] = []
    for event in events:
        key = (event.rollout, event.tenant)
        if event.change == STARTED:
            open_[key] = Attempt(event)
            made.append(open_[key])
        elif key in open_:
            _take(open_[key], event)
    return made


def _take(attempt: Attempt, event: TargetEvent) -> None:
    if event.change == VERIFIED:
        attempt.verified = event.at
    elif event.change == STUCK:
        attempt.stuck = True
        attempt.failed = attempt.failed or event.at
    elif event.change == WENT_BACK:
        attempt.back_at = event.at
    else:
        if event.change == GOES_BACK:
            attempt.back_from = event.at
        if event.code not in NOT_ITS_FAULT:
            attempt.failed = attempt.failed or event.at


def recoveries(attempts: Sequence[Attempt]) -> tuple[list[timedelta], int]:
    """How long each failed attempt took to recover, and how many have not."""
    verified: defaultdict[tuple[str, str], list[datetime]] = defaultdict(list)
    for a in attempts:
        if a.verified is not None and a.failed is None:
            verified[a.first.rollout, a.first.tenant].append(a.verified)
    took: list[timedelta] = []
    missing = 0
    for a in attempts:
        if a.failed is None:
            continue
        ends = [t for t in verified[a.first.rollout, a.first.tenant] if t >= a.failed]
        if a.back_at is not None:
            ends.append(a.back_at)
        if ends:
            took.append(min(ends) - a.failed)
        else:
            missing += 1
    return took, missing


def spread(values: Iterable[timedelta]) -> Spread | None:
    """Median, 90th percentile (nearest rank) and maximum, in whole seconds; None of nothing.

    A time below zero counts as zero: after a failover the database's clock may stand a little earlier.
    """
    sorted_ = sorted(timedelta(seconds=max(0, round(value.total_seconds()))) for value in values)
    if not sorted_:
        return None
    p90 = sorted_[ceil(0.9 * len(sorted_)) - 1]
    return Spread(count=len(sorted_), p50=middle(sorted_), p90=p90, max=sorted_[-1])


def middle(values: Sequence[timedelta]) -> timedelta:
    """The median in whole seconds; there is at least one value."""
    return timedelta(seconds=round(median(value.total_seconds() for value in values)))


@dataclass(frozen=True, slots=True)
class _Part:
    """What belongs to a group."""

    attempts: Sequence[Attempt]
    spared: Sequence[tuple[Untouched, Decimal | None]]
    tenants: Sequence[Restorable]
    rollouts: Collection[str]


def _group(name: str, part: _Part, found: Recorded) -> OutcomeGroup:
    attempts = part.attempts
    over = [a for a in attempts if a.verified or a.back_at or a.failed]
    failed = sum(a.failed is not None for a in over)
    took, missing = recoveries(attempts)
    good = [a for a in over if a.verified and not a.back_from and not a.failed]
    leads = [a.verified - a.first.registered for a in good if a.verified and a.first.registered]
    days = max((found.until - found.since) / timedelta(days=1), 1e-9)
    acts = [number for rollout, number in found.acts.items() if rollout in part.rollouts]
    return OutcomeGroup(
        name=name,
        deployments=len(over),
        per_day=round(len(good) / days, 4),
        failed=failed,
        change_failure_rate=failed / len(over) if over else None,
        lead_time=spread(leads),
        recovery_time=spread(took),
        unrecovered=missing,
        rollback_time=spread(a.back_at - a.back_from for a in attempts if a.back_at and a.back_from),
        money_not_lost=_money(part.spared, found.currency),
        restore_drills=_drilled(part.tenants),
        rollouts=len(acts),
        gates=_stopped(found.gates, part.rollouts),
        manual_actions_per_rollout=sum(acts) / len(acts) if acts else None,
    )


def _stopped(gates: Sequence[GateOutcome], rollouts: Collection[str]) -> tuple[Stopped, ...]:
    """Each kind of gate that answered in some rollouts, by name."""
    said: defaultdict[str, list[bool]] = defaultdict(list)
    for one in gates:
        if one.rollout in rollouts:
            said[one.kind].append(one.stopped)
    return tuple(
        Stopped(gate=kind, stood=len(words), stopped=sum(words), share=sum(words) / len(words))
        for kind, words in sorted(said.items())
    )


def _drilled(tenants: Sequence[Restorable]) -> float | None:
    return sum(t.drilled for t in tenants) / len(tenants) if tenants else None


def _spared(attempts: Sequence[Attempt], untouched: Sequence[Untouched]) -> list[tuple[Untouched, Decimal | None]]:
    """Each untouched target of a rollout that failed somewhere and was undone there, with what an hour-long loss would have cost."""
    ran: defaultdict[str, list[timedelta]] = defaultdict(list)
    for a in attempts:
        if a.failed is not None and a.back_at is not None:
            ran[a.first.rollout].append(a.back_at - a.first.at)
    hours: Mapping[str, Decimal] = {
        rollout: Decimal(str(middle(spans) / timedelta(hours=1))) for rollout, spans in ran.items()
    }
    return [
        (u, None if u.value_per_hour is None else u.value_per_hour * hours[u.rollout])
        for u in untouched
        if u.rollout in hours
    ]


def _money(spared: Sequence[tuple[Untouched, Decimal | None]], currency: str) -> Money | None:
    amounts = [amount for _, amount in spared]
    if any(amount is None for amount in amounts):
        return None
    total: Amount = sum((a for a in amounts if a is not None), Decimal(0)).quantize(_CENT, rounding=ROUND_UP)
    return Money(amount=total, currency=currency)


def _names(one: TargetEvent | Untouched, by: By) -> tuple[str, ...]:
    """The groups of a change: one, but of a release with several modules each."""
    if by == "module":
        return one.modules or (UNNAMED,)
    return ({"tenant": one.tenant, "tier": one.tier, "brand": one.brand, "app": one.app}[by] or "-",)


def _homes(one: Restorable, by: By) -> tuple[str, ...]:
    """The groups of a tenant."""
    if by == "module":
        return ()
    return one.apps if by == "app" else ({"tenant": one.tenant, "tier": one.tier, "brand": one.brand}[by] or "-",)
