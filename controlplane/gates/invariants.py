"""invariants: numbers of the tenant's own business are the same after the change as before: stock totals, order counts, unposted payments.

A probe (a Job in the tenant's namespace) counts them before the change (this gate in `before` or `beforeEach`) and after it (the same gate, by
`name`, in `during` or `after`). Before: it passes once every tenant's numbers are known. After: a tenant whose numbers break a check fails, and goes
back at once. What could not be counted is `unknown`, and so is a tenant without numbers from before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from controlplane.domain.evidence import ResultName
from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.names import Name
from controlplane.domain.priorities import class_name
from controlplane.domain.probes import Probed, ProbeSpec, probe_step
from controlplane.domain.quantities import Duration, parse_percent
from controlplane.domain.strategies import GateSpec, Percent, Strategy
from controlplane.domain.tiers import TierSpec
from controlplane.domain.wire import Wire
from controlplane.gates.scenes import subjects, together
from controlplane.ports.facts import Facts, TargetFact
from controlplane.ports.gates import Evidence, GatePorts, GateScene
from controlplane.ports.probes import ProbePlace

BEFORE: Final = frozenset({"before", "beforeEach"})
SETTLED: Final = frozenset({"soak", "verified"})
"""States in which a changed target is counted again: between them its numbers move."""


class Check(Wire):
    """How one number of the probe must compare with what it was."""

    result: ResultName
    is_: Literal["equal", "not-lower", "not-higher", "within"] = Field(default="equal", alias="is")
    tolerance: Percent | float | None = Field(
        default=None, description="For within: a number, or a percent of what it was."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.is_ == "within") != (self.tolerance is not None):
            raise ValueError("within needs a tolerance, and nothing else has one")
        if isinstance(self.tolerance, float) and self.tolerance < 0:
            raise ValueError("a tolerance is not negative")
        return self


class UnknownLimit(Wire):
    """How long it may stay unknown, and what then."""

    seconds: float = Field(default=600, ge=1)
    then: Literal["hold", "fail"] = "hold"


class InvariantsSpec(Wire):
    """`{"invariants": {"name": "stock", "probe": {"image": "...", "command": [...]}, "checks": [{"result": "stock_total"}]}}`."""

    name: Name = Field(description="Joins the gate before the change with the one after it.")
    probe: ProbeSpec
    checks: tuple[Check, ...] = Field(min_length=1, max_length=50)
    interval: Duration = Field(default=timedelta(minutes=1), description="Time between two looks.")
    unknown: UnknownLimit = Field(default_factory=UnknownLimit)


class InvariantsGate:
    """See the module."""

    kind = "invariants"
    spec = InvariantsSpec

    def interval(self, spec: InvariantsSpec) -> float:
        """As the spec says."""
        return spec.interval.total_seconds()

    async def observe(self, spec: InvariantsSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Count in each tenant: before the change in all that are asked about, after it in those that have settled."""
        if ports.facts is None or ports.probes is None:
            return {"error": "this process runs no probes", "targets": {}}
        before = scene.key.place in BEFORE
        tenants = subjects(scene) if before else scene.changed
        targets = await ports.facts.targets(scene.rollout_id, tenants)
        first = {t.tenant for t in scene.plan.waves[scene.key.wave].targets if t.from_version is None}
        asked = [t for t in targets.values() if t.tenant not in first and (before or t.state in SETTLED)]
        classes = await _classes(ports.facts)
        probed = await asyncio.gather(*(_probe(spec, scene, one, classes, ports) for one in asked))
        now = {one.tenant: found for one, found in zip(asked, probed, strict=True)}
        was = {} if before else _was(spec.name, await ports.facts.seen(scene.rollout_id, scene.key.wave, self.kind))
        shown = {t: _shown(found, was.get(t)) for t, found in now.items()}
        shown |= {t.tenant: {"first": True} for t in targets.values() if t.tenant in first}
        return {"name": spec.name, "at": scene.now.isoformat(), "targets": shown}

    def judge(self, spec: InvariantsSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """All tenants that were counted, together; those that broke a check are named, and go back at once."""
        if evidence.get("error"):
            return Judged(Verdict.UNKNOWN, f"could not measure: {evidence['error']}")
        if not evidence["targets"] and scene.key.place not in BEFORE:
            return Judged(Verdict.WAIT, "no changed tenant has settled yet")
        return together(self.judge_each(spec, scene, evidence))

    def judge_each(self, spec: InvariantsSpec, scene: GateScene, evidence: Evidence) -> Mapping[str, Judged]:
        """Each tenant on its own."""
        if evidence.get("error"):
            unknown = Judged(Verdict.UNKNOWN, f"could not measure: {evidence['error']}")
            return dict.fromkeys(subjects(scene), unknown)
        before = scene.key.place in BEFORE
        return {tenant: _judge(spec, shown, before=before) for tenant, shown in evidence["targets"].items()}


def _judge(spec: InvariantsSpec, shown: Mapping[str, Any], *, before: bool) -> Judged:
    """One tenant: its numbers are known, and (after) none breaks its check. One that ran nothing before has nothing to compare."""
    if shown.get("first"):
        return Judged(Verdict.PASS, "it is installed for the first time, so there is nothing to compare")
    if shown["error"]:
        return Judged(Verdict.UNKNOWN, f"could not measure: {shown['error']}")
    lacking = [check.result for check in spec.checks if check.result not in shown["numbers"]]
    if lacking:
        return Judged(Verdict.UNKNOWN, f"the probe says no {lacking[0]}")
    if before:
        return Judged(Verdict.PASS, "its numbers before the change are known")
    was = shown["was"]
    if was is None or any(check.result not in was for check in spec.checks):
        return Judged(Verdict.UNKNOWN, "there are no numbers from before the change to compare with")
    broken = [
        said for check in spec.checks if (said := broken_by(check, was[check.result], shown["numbers"][check.result]))
    ]
    if broken:
        return Judged(Verdict.FAIL, broken[0])
    return Judged(Verdict.PASS, "its numbers are as they were")


def broken_by(check: Check, was: float, now: float) -> str:
    """How a number breaks its check; empty if it doesn't."""
    said = f"{check.result} was {was:g} and is {now:g}"
    match check.is_:
        case "equal":
            return f"{said}, and must be equal" if now != was else ""
        case "not-lower":
            return f"{said}, and must not be lower" if now < was else ""
        case "not-higher":
            return f"{said}, and must not be higher" if now > was else ""
        case "within":
            allowed = _allowed(check.tolerance, was)
            return f"{said}, more than {allowed:g} apart" if abs(now - was) > allowed else ""


def _allowed(tolerance: str | float | None, was: float) -> float:
    if isinstance(tolerance, str):
        return float(Decimal(str(abs(was))) * parse_percent(tolerance) / 100)
    return float(tolerance or 0.0)


async def _probe(
    spec: InvariantsSpec, scene: GateScene, target: TargetFact, classes: Mapping[str, str], ports: GatePorts
) -> Probed:
    """One tenant. The step is the same for whoever takes this look up, and another one before and after the change."""
    if ports.probes is None:
        return Probed(error="this process runs no probes")
    side = "before" if scene.key.place in BEFORE else "after"
    step = probe_step(scene.rollout_id, target.tenant, spec.name, side)
    place = ProbePlace(
        target.tenant,
        target.environment,
        target.cluster,
        target.namespace,
        target.epoch,
        step,
        classes.get(target.tier, ""),
    )
    return await ports.probes.run(spec.name, spec.probe, place)


async def _classes(facts: Facts) -> dict[str, str]:
    """The PriorityClass of each tier: no other is let into a tenant's namespace."""
    tiers = await facts.configured("tiers")
    return {tier.name: class_name(tier.name, TierSpec.model_validate(tier.spec)) for tier in tiers}


def _shown(found: Probed, was: Mapping[str, float] | None) -> dict[str, Any]:
    return {"numbers": found.numbers, "error": found.error, "was": dict(was) if was is not None else None}


def _was(name: str, seen: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Mapping[str, float]]:
    """Each tenant's numbers from before the change, from the evidence that the gates before it left."""
    found: dict[str, Mapping[str, float]] = {}
    for tenant, evidence in seen:
        if evidence.get("name") != name:
            continue
        own = {tenant: evidence.get("target")} if tenant else evidence.get("targets") or {}
        found |= {one: shown["numbers"] for one, shown in own.items() if shown and shown.get("numbers")}
    return found


def unpaired(strategy: Strategy) -> list[tuple[tuple[str | int, ...], str]]:
    """Gates that compare after the change, in waves where none of the same name counts before it: they could never say anything."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    for number, wave in enumerate(strategy.waves):
        counted = {_name(gate) for gate in (*wave.before, *wave.before_each)}
        later: list[tuple[tuple[str | int, ...], GateSpec]] = [
            (("waves", number, "after", i), gate) for i, gate in enumerate(wave.after)
        ]
        later += [(("during", i), gate) for i, gate in enumerate(strategy.during)]
        for at, gate in later:
            name = _name(gate)
            if name and name not in counted:
                found.append(
                    (at, f"wave {wave.name} has no invariants gate {name!r} in before or beforeEach to compare with")
                )
    return found


def _name(gate: GateSpec) -> str:
    """The name of an invariants gate; empty for any other."""
    body = gate.get("invariants")
    return str(body.get("name", "")) if isinstance(body, Mapping) else ""
