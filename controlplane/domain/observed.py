"""What a look at a namespace says about an environment, for people: its health in one word with a reason, and its quota. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from controlplane.domain.health import Expected, Health, WorkloadState, judge_workload
from controlplane.domain.quantities import format_quantity

_WORST_FIRST = (Health.UNHEALTHY, Health.UNKNOWN, Health.PROGRESSING)


@dataclass(frozen=True, slots=True)
class Observation:
    """Health, why, and (used, limit) by resource as Kubernetes writes quantities."""

    health: Health
    reason: str
    quota: Mapping[str, Mapping[str, str]]


UNSEEN: Mapping[str, Mapping[str, str]] = {}


def observe_environment(
    workloads: Mapping[tuple[str, str], WorkloadState],
    quota: Mapping[str, tuple[Decimal, Decimal]] | None,
    *,
    installed: bool,
) -> Observation:
    """Judge each workload at the generation it has now. Jobs come and go, so a failed one says nothing about the shop."""
    amounts = _quota(quota or {})
    if not installed:
        return Observation(Health.UNKNOWN, "nothing is installed", amounts)
    running = [state for state in workloads.values() if state.kind != "Job"]
    judged = [judge_workload(Expected(s.kind, s.name, s.uid, s.generation), s) for s in running]
    for health in _WORST_FIRST:
        for one in judged:
            if one.health is health:
                return Observation(health, one.reason, amounts)
    return Observation(Health.HEALTHY, "", amounts)


def _quota(quota: Mapping[str, tuple[Decimal, Decimal]]) -> dict[str, dict[str, str]]:
    return {
        name: {"used": _written(name, used), "limit": _written(name, hard)}
        for name, (used, hard) in sorted(quota.items())
        if hard
    }


def _written(name: str, amount: Decimal) -> str:
    return format_quantity(amount, binary=name.endswith(("memory", "storage")))
