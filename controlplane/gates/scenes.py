"""What several gates ask of their scene: whom it is about, which releases, and what several verdicts come to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from controlplane.domain.gating import Judged, Verdict
from controlplane.ports.facts import Facts
from controlplane.ports.gates import GateScene

_ORDER = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WAIT)
NAMED = 3
"""So many tenants a reason names."""


def subjects(scene: GateScene) -> tuple[str, ...]:
    """The tenants a gate is about: those asked about before single targets, else the whole wave."""
    return scene.targets or tuple(target.tenant for target in scene.plan.waves[scene.key.wave].targets)


def goes_back(scene: GateScene) -> bool:
    """Whether the rollout is a way back: what it returns to was asked about when it went forward."""
    return scene.plan.kind == "rollback"


def before_a_way_back(scene: GateScene) -> bool:
    """Whether a way back would be held up before it starts: a service that suffers is what it is for."""
    return scene.key.place in ("before", "beforeEach") and goes_back(scene)


async def releases_of(scene: GateScene, facts: Facts) -> tuple[str, ...]:
    """The versions that the scene's tenants would get: the plan's, or (a change of values) whatever each has."""
    if scene.plan.release is not None:
        return (scene.plan.release,)
    targets = await facts.targets(scene.rollout_id, subjects(scene))
    return tuple(sorted({target.release for target in targets.values()}))


def worst(found: Collection[Judged]) -> Judged:
    """What several judgements about one thing come to: the first fail, else unknown, else wait, else the first pass; of nothing, unknown."""
    for verdict in _ORDER:
        for one in found:
            if one.verdict is verdict:
                return one
    return next(iter(found), Judged(Verdict.UNKNOWN, "there is nothing to look at"))


def together(each: Mapping[str, Judged]) -> Judged:
    """What the verdicts of single tenants come to for a whole wave: how many lack what, the first few by name."""
    for verdict in _ORDER:
        held = {tenant: one for tenant, one in each.items() if one.verdict is verdict}
        if held:
            said = "; ".join(f"{tenant}: {one.reason}" for tenant, one in list(held.items())[:NAMED])
            more = f" and {len(held) - NAMED} more" if len(held) > NAMED else ""
            who = next(iter(held.values())).who
            blamed = tuple(held) if verdict is Verdict.FAIL else ()
            reason = f"{len(held)} of {len(each)} tenants: {said}{more}"
            return Judged(verdict, reason, until=_all_by(held), who=who, tenants=blamed)
    if not each:
        return Judged(Verdict.UNKNOWN, "there is no tenant to look at")
    return Judged(Verdict.PASS, f"all {len(each)} tenants: {next(iter(each.values())).reason}")


def _all_by(held: Mapping[str, Judged]) -> datetime | None:
    """When the last of them may change by itself; None if one of them needs somebody."""
    untils = [one.until for one in held.values()]
    return max(until for until in untils if until) if untils and all(untils) else None
