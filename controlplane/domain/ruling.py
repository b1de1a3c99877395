"""Which risk rules are true of which tenants of a rollout, and what follows. Pure: `test` evaluates an expression.

Rules look at `release`, `values`, `calendar`, `tenant`, `rollout` (see `rule_variables`). A rule that can't be evaluated for a tenant stops that
tenant: nobody knows what it would have said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from controlplane.domain.errors import InvalidError
from controlplane.domain.rules import RuleSpec
from controlplane.domain.strategies import GateSpec

type Test = Callable[[str, Mapping[str, Any]], bool]
"""Evaluates an expression over variables within limits; raises InvalidError where that fails."""

ASK_AGAIN: Final[GateSpec] = {"rules": {}}
"""The gate that asks the rules once more, before each target."""
_FIELD: Final = re.compile(r"\btenant\b(?:\s*\.\s*([A-Za-z_]\w*))?")
UNCLEAR: Final = "rule-unclear"
REFUSED: Final = "rule-refused"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in force. `uses`: the variables its expression looks at."""

    name: str
    version: int
    spec: RuleSpec
    uses: frozenset[str]

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Case:
    """One tenant as rules see it. `same`: for each variable a text that is equal where the variable is; `unknown`: why one is missing."""

    tenant: str
    variables: Mapping[str, Any]
    same: Mapping[str, str]
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that is true of these tenants."""

    rule: Rule
    tenants: tuple[str, ...]


@dataclass(frozen=True)
class Ruling:
    """What all rules say. `unclear`: tenant -> which rule could not be evaluated, and why.

    `watched`: a rule that refuses looks at calendars, so that it may come to be true between planning and a wave's start.
    """

    hits: tuple[Hit, ...] = ()
    unclear: Mapping[str, tuple[Rule, str]] = field(default_factory=dict)
    watched: bool = False

    @property
    def refs(self) -> tuple[str, ...]:
        """Every rule that applied, as `name@version`: the plan's hash covers them."""
        return tuple(sorted({hit.rule.ref for hit in self.hits} | {rule.ref for rule, _ in self.unclear.values()}))

    def problem(self, tenant: str) -> tuple[str, str] | None:
        """(code, sentence) where a rule keeps the tenant out of the plan."""
        if tenant in self.unclear:
            rule, why = self.unclear[tenant]
            return UNCLEAR, f"Rule {rule.ref} can't be evaluated for it, so nobody knows what it says: {why}"
        refusing = self._refused.get(tenant)
        if refusing is None:
            return None
        return REFUSED, f"Rule {refusing.ref} refuses it: {refusing.spec.reason}"

    @cached_property
    def _refused(self) -> Mapping[str, Rule]:
        """Tenant -> the first rule that refuses it."""
        refusing = [hit for hit in self.hits if hit.rule.spec.then.refuse]
        return {tenant: hit.rule for hit in reversed(refusing) for tenant in hit.tenants}


def rule_on(rules: Sequence[Rule], cases: Sequence[Case], test: Test) -> Ruling:
    """Evaluate every rule for every tenant; equal cases are evaluated once."""
    hits: list[Hit] = []
    unclear: dict[str, tuple[Rule, str]] = {}
    for rule in rules:
        known: dict[tuple[str, ...], bool | str] = {}
        true_of = []
        fields = tenant_fields(rule.spec.when)
        for case in cases:
            key = tuple(_sameness(case, name, fields) for name in sorted(rule.uses))
            if key not in known:
                known[key] = _evaluate(rule, case, test)
            if known[key] is True:
                true_of.append(case.tenant)
            elif isinstance(known[key], str):
                unclear.setdefault(case.tenant, (rule, str(known[key])))
        if true_of:
            hits.append(Hit(rule, tuple(true_of)))
    watched = any(rule.spec.then.refuse and "calendar" in rule.uses for rule in rules)
    return Ruling(tuple(hits), unclear, watched)


def tenant_fields(expression: str) -> tuple[str, ...] | None:
    """The fields of `tenant` that an expression looks at; None where it looks at the whole. Tenants that are equal in them are one case."""
    found = [match[1] for match in _FIELD.finditer(expression)]
    return tuple(sorted(set(found))) if found and all(found) else None


def _sameness(case: Case, name: str, fields: tuple[str, ...] | None) -> str:
    """A text that is equal where what the rule sees of a variable is."""
    if name not in case.same:
        return f"?{case.unknown.get(name)}"
    if name != "tenant" or fields is None:
        return case.same[name]
    return repr([case.variables["tenant"].get(field) for field in fields])


def _evaluate(rule: Rule, case: Case, test: Test) -> bool | str:
    missing = sorted(rule.uses - case.variables.keys())
    if missing:
        return f"{missing[0]} is not known: {case.unknown.get(missing[0], 'there is no such variable')}"
    try:
        return test(rule.spec.when, {name: case.variables[name] for name in rule.uses})
    except InvalidError as error:
        return error.detail


def gates_for(ruling: Ruling, waves: Sequence[frozenset[str]]) -> list[tuple[GateSpec, ...]]:
    """The gates that rules add before each wave, given each wave's tenants."""
    added: list[list[GateSpec]] = [[] for _ in waves]
    for hit in ruling.hits:
        then, tenants = hit.rule.spec.then, frozenset(hit.tenants)
        touched = [index for index, members in enumerate(waves) if members & tenants]
        if then.approval is not None:
            gate: GateSpec = {"approval": {"group": then.approval.group, "count": then.approval.count}}
            touched = touched if then.approval.waves == "each" else touched[:1]
        elif then.gate is not None:
            gate = then.gate
        else:
            continue
        for index in touched:
            if gate not in added[index]:
                added[index].append(gate)
    return [tuple(gates) for gates in added]
