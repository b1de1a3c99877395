"""When waves should run, and the most that can be at stake at once.

The model, so that nobody takes it for more than it is: a target holds its place for the sum of its phases plus its
soak. A wave takes as many rounds as its tightest limit asks for (targets / limit, over the whole wave, each cluster,
region, pair and brand, and what is at stake in them); the next wave starts when the one before ends. `expected_from` adds
medians, `expected_by` adds 90th percentiles. Approvals and other gates that wait for people or measurements are not in it.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from controlplane.domain.plans import Peak, ResolvedLimits
from controlplane.domain.quantities import Money
from controlplane.domain.strategies import Soak, Windows
from controlplane.domain.targets import DatabaseChange, Phase, PhaseDuration, TargetFacts
from controlplane.domain.windows import NEVER, Attached, starts

ASSUMED: Mapping[Phase, PhaseDuration] = {
    "preflight": PhaseDuration(1, 3),
    "backup": PhaseDuration(60, 300),
    "migrate": PhaseDuration(120, 600),
    "apply": PhaseDuration(2, 10),
    "verify": PhaseDuration(45, 180),
    "back": PhaseDuration(30, 120),
    "restore": PhaseDuration(900, 3600),
}
"""Used for phases without history; a plan that uses one says so in a note."""


@dataclass(frozen=True, slots=True)
class WorkTime:
    """How long a target's phases take together, in seconds, and after the backup alone (p90)."""

    p50: float
    p90: float
    exposed_p90: float


def phases_of(database: DatabaseChange) -> tuple[Phase, ...]:
    """Give the phases a change passes: backup and migration only when it touches the database."""
    if database == "none":
        return ("preflight", "apply", "verify")
    return ("preflight", "backup", "migrate", "apply", "verify")


def work_time(database: DatabaseChange, history: Mapping[Phase, PhaseDuration]) -> WorkTime:
    """Add the phases up. Adding 90th percentiles overstates the sum's own 90th percentile: on the safe side."""
    took = {phase: history.get(phase, ASSUMED[phase]) for phase in phases_of(database)}
    exposed = sum(took[phase].p90 for phase in took if phase not in ("preflight", "backup"))
    return WorkTime(sum(t.p50 for t in took.values()), sum(t.p90 for t in took.values()), exposed)


def rounds(targets: Sequence[TargetFacts], limits: ResolvedLimits) -> int:
    """Count the rounds a wave needs: its tightest limit decides."""
    found = [math.ceil(len(targets) / min(limits.in_flight, limits.unverified))]
    for cluster, count in Counter(t.cluster for t in targets).items():
        found.append(math.ceil(count / limits.per_cluster.get(cluster, count)))
    for region, count in Counter(t.region for t in targets).items():
        found.append(math.ceil(count / limits.per_region.get(region, count)))
    for pair, count in Counter(t.region_pair for t in targets).items():
        found.append(math.ceil(count / limits.per_region_pair.get(pair, count)))
    for brand, count in Counter(t.brand for t in targets).items():
        found.append(math.ceil(count / limits.per_brand.get(brand, count)))
    if limits.exposure is not None:
        found.append(math.ceil(sum(t.orders_per_hour for t in targets) / limits.exposure))
    if limits.money_at_risk is not None:
        found.append(math.ceil(sum(t.money_at_risk for t in targets) / limits.money_at_risk))
    return max(found)


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a forecast has come: the earliest (medians) and latest (90th percentiles) time so far."""

    early: datetime
    late: datetime

    def after(self, targets: Sequence[TargetFacts], soak: Soak, work: WorkTime, limits: ResolvedLimits) -> Clock:
        """Move past a wave; one whose last window opens later ends no sooner than that allows."""
        count = rounds(targets, limits)
        early = _later(self.early, (timedelta(seconds=work.p50) + soak.for_) * count)
        most = longest(work, soak)
        late = _later(self.late, times(most, count))
        opens = [t.window_opens for t in targets if t.window_opens is not None and t.window_opens != NEVER]
        last = max(opens, default=None)
        return Clock(early, late) if last is None else Clock(max(early, last), max(late, _later(last, most)))

    def begun(self, targets: Sequence[TargetFacts], windows: Attached, policy: Windows, needs: timedelta) -> Clock:
        """Move to when the first of a wave's targets may start, as windows allow."""
        names = [t.tenant for t in targets]
        wait = policy.wait if policy.then == "defer" else timedelta.max
        return Clock(*(starts(windows, names, at, needs, wait)[0] for at in (self.early, self.late)))

    def held(
        self, targets: Sequence[TargetFacts], windows: Attached, policy: Windows, begun: Clock, takes: timedelta
    ) -> Clock:
        """The end of a wave that began at `begun`, no sooner than the last of its windows that it waits for lets it."""
        names = [t.tenant for t in targets]
        wait = policy.wait if policy.then == "defer" else timedelta.max
        needs = timedelta(0) if policy.finish == "ignore" else takes
        early, late = (starts(windows, names, at, needs, wait)[1] for at in (begun.early, begun.late))
        return Clock(max(self.early, early), max(self.late, _later(late, takes)))


def longest(work: WorkTime, soak: Soak) -> timedelta:
    """How long one target needs at most: the 90th percentile of its work, and its soak."""
    return timedelta(seconds=work.p90) + soak.for_


def times(span: timedelta, count: int) -> timedelta:
    """Multiply, but stop at the longest there is: see `_later`."""
    try:
        return span * count
    except OverflowError:
        return timedelta.max


def _later(at: datetime, span: timedelta) -> datetime:
    """Add, but stop at the end of the calendar: years of soak over thousands of rounds are legal, if not wise."""
    try:
        return at + span
    except OverflowError:
        return datetime.max.replace(tzinfo=at.tzinfo)


def peak_of(waves: Sequence[Sequence[TargetFacts]], limits: ResolvedLimits, currency: str) -> Peak:
    """Bound what can be at stake at one moment: waves run one after another, each as wide as its limits let it.

    Orders per hour and money at risk are those of the widest moment's largest targets, or their limit; unverified counts
    stuck targets too, which may pile up over waves, so only its own limit and the plan's size bound it.
    """
    in_flight, orders, money = 0, Decimal(0), Decimal(0)
    for wave in waves:
        width = min(limits.in_flight, limits.unverified, len(wave), _spread(wave, limits))
        in_flight = max(in_flight, width)
        orders = max(orders, sum(heapq.nlargest(width, (t.orders_per_hour for t in wave)), Decimal(0)))
        money = max(money, sum(heapq.nlargest(width, (t.money_at_risk for t in wave)), Decimal(0)))
    total = sum(len(wave) for wave in waves)
    return Peak(
        in_flight=in_flight,
        unverified=min(limits.unverified, total),
        orders_per_hour=orders if limits.exposure is None else min(orders, Decimal(limits.exposure)),
        money_at_risk=Money(
            amount=money if limits.money_at_risk is None else min(money, limits.money_at_risk), currency=currency
        ),
    )


def _spread(wave: Sequence[TargetFacts], limits: ResolvedLimits) -> int:
    clusters = Counter(t.cluster for t in wave).items()
    regions = Counter(t.region for t in wave).items()
    pairs, brands = Counter(t.region_pair for t in wave).items(), Counter(t.brand for t in wave).items()
    return min(
        sum(min(n, limits.per_cluster.get(c, n)) for c, n in clusters),
        sum(min(n, limits.per_region.get(r, n)) for r, n in regions),
        sum(min(n, limits.per_region_pair.get(p, n)) for p, n in pairs),
        sum(min(n, limits.per_brand.get(b, n)) for b, n in brands),
    )
