"""verified-in: another environment (staging) ran this very release, verified, for long enough, before this one gets it.

`of: tenant` asks each tenant's own environment, with the same values (`ignore` leaves out what must differ, such as hosts);
`of: fleet` asks a share of all environments of that name. The gate only waits: a person can verify it in staging, or abort.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.names import Name, digest_of
from controlplane.domain.quantities import Duration, format_duration, parse_percent
from controlplane.domain.strategies import Percent
from controlplane.domain.wire import Wire
from controlplane.gates.scenes import goes_back, subjects, together
from controlplane.ports.facts import Facts, Ran, TargetFact
from controlplane.ports.gates import Evidence, GatePorts, GateScene

Pointer = Annotated[str, StringConstraints(pattern=r"^(/[^/]+)+$", max_length=500)]


class VerifiedInSpec(Wire):
    """`{"verified-in": {"environment": "staging", "for": "PT24H"}}`."""

    environment: Name = "staging"
    for_: Duration = Field(default=timedelta(0), alias="for", description="So long without a break, verified.")
    of: Literal["tenant", "fleet"] = "tenant"
    share: Percent = Field(
        default="100%", description="of: fleet. Of the environments that have the app; at least one."
    )
    values: Literal["same", "any"] = Field(default="same", description="of: tenant. Whether the values must be equal.")
    ignore: tuple[Pointer, ...] = Field(
        default=(), max_length=100, description="JSON pointers into the values that may differ."
    )
    without: Literal["hold", "pass"] = Field(
        default="hold", description="of: tenant. What a tenant does that has no such environment."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.of == "fleet" and (self.ignore or "values" in self.model_fields_set):
            raise ValueError("values of other tenants differ: values and ignore are for of: tenant")
        if parse_percent(self.share) == 0:
            raise ValueError("a share of 0% asks nothing")
        return self


class VerifiedInGate:
    """See the module."""

    kind = "verified-in"
    spec = VerifiedInSpec

    def interval(self, _spec: VerifiedInSpec) -> float:
        """What is verified there is seen within this."""
        return 2.0

    async def observe(self, spec: VerifiedInSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Read what ran there, and (of: tenant) what each tenant would get here."""
        if ports.facts is None:
            return {"error": "this process can't read revisions", "targets": {}}
        plan, tenants = scene.plan, subjects(scene)
        targets = await ports.facts.targets(scene.rollout_id, tenants)
        if spec.of == "fleet":
            ran = await ports.facts.ran(plan.app, spec.environment, None)
            versions = sorted({target.release for target in targets.values()})
            return {
                "releases": versions,
                "ran": [_ran(one) for one in ran if one.release in ("", *versions)],
                **_count(ran),
            }
        ran = await ports.facts.ran(plan.app, spec.environment, tenants)
        return {"targets": await _of_tenants(spec, targets, ran, ports.facts)}

    def judge(self, spec: VerifiedInSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """The fleet's share, or all tenants of the wave together."""
        if goes_back(scene):
            return Judged(Verdict.PASS, "what it goes back to was verified here")
        if evidence.get("error"):
            return Judged(Verdict.UNKNOWN, f"could not measure: {evidence['error']}")
        if spec.of == "fleet":
            return _judge_fleet(spec, scene, evidence)
        return together(self.judge_each(spec, scene, evidence))

    def judge_each(self, spec: VerifiedInSpec, scene: GateScene, evidence: Evidence) -> Mapping[str, Judged]:
        """Each tenant on its own."""
        if goes_back(scene) or spec.of == "fleet" or evidence.get("error"):
            return dict.fromkeys(subjects(scene), self.judge(spec, scene, evidence))
        return {tenant: _judge_tenant(spec, shown, scene.now) for tenant, shown in evidence["targets"].items()}


async def _of_tenants(
    spec: VerifiedInSpec, targets: Mapping[str, TargetFact], ran: Sequence[Ran], facts: Facts
) -> dict[str, Any]:
    """For each tenant: what it would get, and the runs of that release there with whether the values are the same."""
    mine = [(one, targets[one.tenant]) for one in ran if one.tenant in targets]
    equal = {(one.tenant, one.values_hash): one.values_hash == target.values_hash for one, target in mine}
    if spec.ignore:
        differing = [
            (one, target) for one, target in mine if one.values_hash and not equal[one.tenant, one.values_hash]
        ]
        keys = {(o.tenant, h) for o, t in differing for h in (o.values_hash, t.values_hash)}
        bodies = await facts.values(keys) if keys else {}
        for one, target in differing:
            here, there = (bodies.get((one.tenant, h)) for h in (target.values_hash, one.values_hash))
            same = here is not None and there is not None and _without(here, spec) == _without(there, spec)
            equal[one.tenant, one.values_hash] = same
    runs: dict[str, list[Ran]] = {}
    for one, _ in mine:
        runs.setdefault(one.tenant, []).append(one)
    shown: dict[str, Any] = {}
    for tenant, target in targets.items():
        like = [r for r in runs.get(tenant, ()) if r.release == target.release]
        told = [_ran(r) | {"sameValues": equal[tenant, r.values_hash]} for r in like]
        shown[tenant] = {"release": target.release, "environment": tenant in runs, "ran": told}
    return shown


def _without(values: Mapping[str, Any], spec: VerifiedInSpec) -> str:
    """The hash of values with the ignored places left out."""
    return digest_of(
        _prune(values, {tuple(p.replace("~1", "/").replace("~0", "~") for p in i[1:].split("/")) for i in spec.ignore})
    )


def _prune(node: Any, paths: set[tuple[str, ...]]) -> Any:
    if not isinstance(node, Mapping) or not paths:
        return node
    gone = {path[0] for path in paths if len(path) == 1}
    deeper: dict[str, set[tuple[str, ...]]] = {}
    for path in paths:
        if len(path) > 1:
            deeper.setdefault(path[0], set()).add(path[1:])
    return {key: _prune(value, deeper.get(key, set())) for key, value in node.items() if key not in gone}


def _judge_tenant(spec: VerifiedInSpec, shown: Mapping[str, Any], now: datetime) -> Judged:
    there, release = spec.environment, shown["release"]
    if not shown["environment"]:
        verdict = Verdict.PASS if spec.without == "pass" else Verdict.WAIT
        return Judged(verdict, f"it has no environment {there}", who="" if spec.without == "pass" else "operator")
    runs = [run for run in shown["ran"] if spec.values == "any" or run["sameValues"]]
    if not shown["ran"]:
        return Judged(Verdict.WAIT, f"{there} has not run {release}, verified", who="operator")
    if not runs:
        return Judged(Verdict.WAIT, f"{there} ran {release} with other values only", who="operator")
    if any(_long_enough(spec, run, now) for run in runs):
        return Judged(Verdict.PASS, f"{there} ran {release} for {format_duration(spec.for_)}, verified")
    running = [run for run in runs if run["until"] is None]
    if not running:
        return Judged(Verdict.WAIT, f"{there} ran {release} for less than {format_duration(spec.for_)}", who="operator")
    until = min(datetime.fromisoformat(run["since"]) for run in running) + spec.for_
    return Judged(Verdict.WAIT, f"{there} has run {release} for less than {format_duration(spec.for_)}", until=until)


def _judge_fleet(spec: VerifiedInSpec, scene: GateScene, evidence: Evidence) -> Judged:
    size, wanted = evidence["environments"], evidence["releases"]
    if not wanted:
        return Judged(Verdict.UNKNOWN, "none of the wave's targets is on record")
    if not size:
        return Judged(
            Verdict.WAIT, f"no tenant has {scene.plan.app} in an environment {spec.environment}", who="operator"
        )
    needed = max(1, math.ceil(parse_percent(spec.share) * size / 100))
    lacking = []
    for release in wanted:
        good = {r["tenant"] for r in evidence["ran"] if r["release"] == release and _long_enough(spec, r, scene.now)}
        if len(good) < needed:
            lacking.append(
                f"{len(good)} of {size} environments {spec.environment} ran {release} for {format_duration(spec.for_)}"
            )
    if lacking:
        return Judged(Verdict.WAIT, f"{lacking[0]}, verified; {needed} must", who="operator")
    return Judged(Verdict.PASS, f"at least {needed} of {size} environments {spec.environment} ran it, verified")


def _long_enough(spec: VerifiedInSpec, run: Mapping[str, Any], now: datetime) -> bool:
    if run["since"] is None:
        return False
    end = datetime.fromisoformat(run["until"]) if run["until"] else now
    return end - datetime.fromisoformat(run["since"]) >= spec.for_


def _ran(one: Ran) -> dict[str, Any]:
    since, until = (moment.isoformat() if moment else None for moment in (one.since, one.until))
    return {"tenant": one.tenant, "release": one.release, "revision": one.revision, "since": since, "until": until}


def _count(ran: Sequence[Ran]) -> dict[str, int]:
    return {"environments": len({one.tenant for one in ran})}
