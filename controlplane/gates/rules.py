"""rules: the risk rules that refuse are asked once more before a target starts.

A plan is made hours or days before its last wave: by then the financial close may have begun. Seawall puts this gate before every target of a plan
(`beforeEach`) while a rule that refuses looks at calendars; a strategy may name it as well. It waits while a rule refuses the tenant; a rule that
can't be evaluated is `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.domain.calendars import CalendarSpec
from controlplane.domain.errors import InvalidError
from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.requests import RolloutRequest
from controlplane.domain.rule_variables import (
    CaseMaker,
    TimesByZone,
    release_variable,
    rollout_variable,
    tenant_variable,
)
from controlplane.domain.rules import RuleSpec
from controlplane.domain.ruling import UNCLEAR, Case, Rule, rule_on
from controlplane.domain.selectors import labels_of
from controlplane.domain.wire import Wire
from controlplane.gates.scenes import goes_back, subjects, together
from controlplane.ports.expressions import Expressions
from controlplane.ports.facts import Configured, Facts, TargetFact
from controlplane.ports.gates import Evidence, GatePorts, GateScene


class RulesSpec(Wire):
    """`{"rules": {}}`: there is nothing to say but that they are asked."""


class RulesGate:
    """See the module."""

    kind = "rules"
    spec = RulesSpec

    def interval(self, _spec: RulesSpec) -> float:
        """Calendars turn by the minute."""
        return 10.0

    async def observe(self, _spec: RulesSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Evaluate every rule in force that refuses, for each tenant."""
        facts, expressions = ports.facts, ports.expressions
        if facts is None or expressions is None:
            return {"error": "this process evaluates no rules", "targets": {}}
        rules = _refusing(await facts.configured("rules"), expressions)
        if not rules:
            return {"rules": [], "targets": dict.fromkeys(subjects(scene))}
        cases = await _cases(rules, scene, facts, ports)
        ruling = rule_on(rules, cases, expressions.test)
        known = {case.tenant: ruling.problem(case.tenant) for case in cases}
        shown = {tenant: list(found) if found else None for tenant, found in known.items()}
        return {"rules": [rule.ref for rule in rules], "targets": shown}

    def judge(self, spec: RulesSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """All tenants of the wave together."""
        if evidence.get("error"):
            return Judged(Verdict.UNKNOWN, f"could not measure: {evidence['error']}")
        return together(self.judge_each(spec, scene, evidence))

    def judge_each(self, _spec: RulesSpec, scene: GateScene, evidence: Evidence) -> Mapping[str, Judged]:
        """Each tenant on its own."""
        if evidence.get("error"):
            return dict.fromkeys(subjects(scene), Judged(Verdict.UNKNOWN, f"could not measure: {evidence['error']}"))
        if goes_back(scene):
            return dict.fromkeys(subjects(scene), Judged(Verdict.PASS, "a way back needs no rule's leave"))
        return {tenant: _judge(shown) for tenant, shown in evidence["targets"].items()}


def _judge(shown: Sequence[str] | None) -> Judged:
    if shown is None:
        return Judged(Verdict.PASS, "no rule refuses it")
    code, sentence = shown
    return Judged(Verdict.UNKNOWN if code == UNCLEAR else Verdict.WAIT, sentence, who="release-manager")


def _refusing(configured: Sequence[Configured], expressions: Expressions) -> list[Rule]:
    found = []
    for one in configured:
        spec = RuleSpec.model_validate(one.spec)
        if spec.then.refuse:
            found.append(Rule(one.name, one.version, spec, expressions.uses(spec.when)))
    return found


async def _cases(rules: Sequence[Rule], scene: GateScene, facts: Facts, ports: GatePorts) -> list[Case]:
    """What the rules see now of each tenant; only what one of them looks at is read."""
    uses = frozenset(name for rule in rules for name in rule.uses)
    targets = await facts.targets(scene.rollout_id, subjects(scene))
    app, now = scene.plan.app, scene.now
    versions = sorted({target.release for target in targets.values()})
    releases = {version: await _release(facts, app, version, scene) for version in versions}
    calendars = {c.name: CalendarSpec.model_validate(c.spec) for c in await facts.configured("calendars")}
    zones = sorted({target.zone for target in targets.values()})
    times = await _times(ports, calendars, zones, scene) if "calendar" in uses else {}
    hashes = {(t.tenant, t.values_hash) for t in targets.values()} if "values" in uses else set()
    values = await facts.values(hashes) if hashes else {}
    wish = await facts.wish(scene.rollout_id) or RolloutRequest(app=app, kind=scene.plan.kind, strategy="unknown")
    rollout = rollout_variable(app, wish, scene.plan.strategy.partition("@")[0])
    maker = CaseMaker(releases, rollout, {n: c.selector for n, c in calendars.items()}, times, now)
    running = {t.tenant: t.from_version or "" for t in scene.plan.waves[scene.key.wave].targets}
    return [_case(maker, target, running.get(tenant, ""), values) for tenant, target in sorted(targets.items())]


def _case(
    maker: CaseMaker, target: TargetFact, running: str, values: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Case:
    where = {"tier": target.tier, "region": target.region, "cluster": target.cluster}
    seen = labels_of(target.labels, tenant=target.tenant, environment=target.environment, **where)
    tenant = tenant_variable(seen, target.labels, orders=target.orders_per_hour, running=running)
    given = values.get((target.tenant, target.values_hash))
    return maker.case(tenant, seen, target.release, target.values_hash, given, target.zone)


async def _release(facts: Facts, app: str, version: str, scene: GateScene) -> dict[str, Any]:
    evidence: dict[str, Mapping[str, Any]] = {}
    for record in await facts.evidence(app, version):
        evidence.setdefault(record.kind, record.body)
    spec, proven = await facts.release(app, version), await facts.proven(app, version)
    return release_variable(spec, evidence, proven=proven, now=scene.now)


async def _times(
    ports: GatePorts, calendars: Mapping[str, CalendarSpec], zones: Sequence[str], scene: GateScene
) -> TimesByZone | str:
    if ports.times is None:
        return "this process reads no calendars"
    try:
        return {zone: await ports.times.at(calendars, zone, scene.now) for zone in zones}
    except InvalidError as error:
        return error.detail
