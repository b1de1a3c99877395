"""What risk rules did to a plan: which applied, to whom, and whether the plan is done as they require. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.plans import AppliedRule, PlannedWave, ResolvedLimits
from controlplane.domain.rules import Require, RuleThen
from controlplane.domain.ruling import Hit, Ruling

_NAMED = 10


def applied_rules(ruling: Ruling) -> tuple[AppliedRule, ...]:
    """Every rule that is true of somebody, or could not be evaluated for somebody."""
    found = [
        AppliedRule(
            rule=hit.rule.ref,
            effect=effect_of(hit.rule.spec.then),
            reason=hit.rule.spec.reason,
            tenants=len(hit.tenants),
            examples=hit.tenants[:_NAMED],
        )
        for hit in ruling.hits
    ]
    by_rule: dict[str, list[str]] = {}
    for tenant, (rule, _) in ruling.unclear.items():
        by_rule.setdefault(rule.ref, []).append(tenant)
    for ref, tenants in sorted(by_rule.items()):
        why = next(why for rule, why in ruling.unclear.values() if rule.ref == ref)
        reason = f"It can't be evaluated: {why}"
        found.append(
            AppliedRule(
                rule=ref, effect="unclear", reason=reason, tenants=len(tenants), examples=tuple(tenants[:_NAMED])
            )
        )
    return tuple(found)


def effect_of(then: RuleThen) -> str:
    """Which of its effects a rule has."""
    given = {"refuse": then.refuse, "approval": then.approval, "strategy": then.strategy, "require": then.require}
    return next((name for name, value in given.items() if value), "gate")


def check_required(ruling: Ruling, strategy: str, waves: Sequence[PlannedWave], limits: ResolvedLimits) -> None:
    """Raise InvalidError `strategy-required` where a rule wants the rollout done another way: which rule, why, for whom."""
    for hit in ruling.hits:
        required = hit.rule.spec.then.required
        if required is None:
            continue
        lacking = _lacking(required, hit, strategy, waves, limits)
        if lacking:
            raise _required(hit, required, lacking)


def _lacking(
    required: Require, hit: Hit, strategy: str, waves: Sequence[PlannedWave], limits: ResolvedLimits
) -> list[str]:
    """What the plan lacks of what a rule requires; nothing if none of its tenants is in the plan, or the strategy is the one named."""
    tenants = frozenset(hit.tenants)
    touched = [wave for wave in waves if any(target.tenant in tenants for target in wave.targets)]
    named = required.strategy is not None and strategy.partition("@")[0] == required.strategy
    if not touched or named:
        return []
    if not required.gates and required.in_flight is None:
        return [f"strategy {required.strategy}"]
    lacking = [
        f"a gate {kind} before wave {wave.name}"
        for wave in touched
        for kind in required.gates
        if not any(kind in gate for gate in wave.before)
    ]
    if required.in_flight is not None and limits.in_flight > required.in_flight:
        lacking.append(f"at most {required.in_flight} in flight (it has {limits.in_flight})")
    return lacking


def _required(hit: Hit, required: Require, lacking: Sequence[str]) -> InvalidError:
    names = ", ".join(hit.tenants[:3]) + (f" and {len(hit.tenants) - 3} more" if len(hit.tenants) > 3 else "")
    instead = (
        f", or use strategy {required.strategy}"
        if required.strategy and lacking[0] != f"strategy {required.strategy}"
        else ""
    )
    return InvalidError(
        f"Rule {hit.rule.ref} requires {', '.join(lacking[:3])}{instead}: {hit.rule.spec.reason} It is about {names}.",
        code="strategy-required",
        errors=[FieldError("/strategy", f"rule {hit.rule.ref} requires {lacking[0]}")],
        extra={"rule": hit.rule.ref, "reason": hit.rule.spec.reason, "tenants": list(hit.tenants[:_NAMED])},
    )
