"""How often targets fail, and how much they fail together: a bad release breaks many tenants, a good one hardly any. Pure.

The model is beta-binomial: each rollout has a failure rate of its own, drawn from a beta distribution; within it each target fails with that
rate. `rho` is the intra-class correlation of two targets of one rollout: 0, each on its own; near 1, all or none. It is estimated by moments
(Kleinman, "Proportions with Extraneous Variance: Single and Independent Samples", JASA 68, 1973, with weights n).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FEWEST_ROLLOUTS: Final = 5
"""Fewer recorded rollouts say nothing about how failures cluster."""
MOST_RHO: Final = 0.95


@dataclass(frozen=True, slots=True)
class FailureOdds:
    """The mean rate, and how much targets of one rollout share their fate."""

    rate: float = 0.0
    rho: float = 0.0

    def drawn(self, dice: random.Random) -> float:
        """One rollout's own rate."""
        if not 0 < self.rate < 1 or self.rho <= 0:
            return self.rate
        size = 1 / self.rho - 1
        return dice.betavariate(self.rate * size, (1 - self.rate) * size)


def odds_from(rollouts: Sequence[tuple[int, int]]) -> FailureOdds:
    """From recorded rollouts as (targets, failed), both their own ends. No targets: no failures, which the caller has to judge."""
    counted = [(targets, failed) for targets, failed in rollouts if targets > 0]
    total = sum(targets for targets, _ in counted)
    if not total:
        return FailureOdds()
    rate = sum(failed for _, failed in counted) / total
    return FailureOdds(rate, _rho(counted, total, rate))


def _rho(counted: Sequence[tuple[int, int]], total: int, rate: float) -> float:
    spread = rate * (1 - rate)
    groups = len(counted) - 1
    room = total - sum(targets**2 for targets, _ in counted) / total - groups
    if len(counted) < FEWEST_ROLLOUTS or spread <= 0 or room <= 0:
        return 0.0
    between = sum(targets * (failed / targets - rate) ** 2 for targets, failed in counted)
    return min(max((between - spread * groups) / (spread * room), 0.0), MOST_RHO)
