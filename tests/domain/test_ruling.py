"""Risk rules over made-up cases: who they are true of, what is unclear, and which gates follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.errors import InvalidError
from controlplane.domain.plan_rules import applied_rules, check_required
from controlplane.domain.planner import plan
from controlplane.domain.plans import Plan
from controlplane.domain.requests import RolloutRequest
from controlplane.domain.rule_variables import (
    CalendarTime,
    CaseMaker,
    release_variable,
    rollout_variable,
    tenant_variable,
)
from controlplane.domain.rules import RuleSpec
from controlplane.domain.ruling import Case, Hit, Rule, Ruling, gates_for, rule_on, tenant_fields
from controlplane.domain.targets import PlanInputs
from tests.domain.fleet import NOW, RELEASE, strategy, target, wave


def rule(name: str = "close", version: int = 3, uses: tuple[str, ...] = ("tenant",), **then: Any) -> Rule:
    spec = RuleSpec.model_validate({"when": "x", "then": then or {"refuse": True}, "reason": "Because."})
    return Rule(name, version, spec, frozenset(uses))


USES = frozenset({"tenant"})


def case(name: str, **variables: Any) -> Case:
    found = {"tenant": {"name": name}, **variables}
    return Case(name, found, {key: str(value) for key, value in found.items()}, {"values": "not kept"})


def starts_with_a(_: str, variables: Mapping[str, Any]) -> bool:
    return str(variables["tenant"]["name"]).startswith("a")


def test_a_rule_is_true_of_those_its_expression_is_true_of_and_equal_cases_are_evaluated_once() -> None:
    asked: list[str] = []

    def test(_: str, variables: Mapping[str, Any]) -> bool:
        asked.append(variables["release"])
        return True

    cases = [case(name, release="r") for name in ("a", "b", "c")]
    found = rule_on([rule(uses=("release",))], cases, test)
    assert found.hits[0].tenants == ("a", "b", "c")
    assert asked == ["r"]


@pytest.mark.parametrize(
    ("when", "fields"),
    [
        ('tenant.region == "w" && has(tenant.labels.brand)', ("labels", "region")),
        ('"tenant" in tenant.labels', None),
        ("size(tenant) > 3", None),
        ("release.version == '1'", None),
    ],
)
def test_only_the_fields_of_a_tenant_that_a_rule_looks_at_make_a_case(
    when: str, fields: tuple[str, ...] | None
) -> None:
    assert tenant_fields(when) == fields


def test_tenants_that_are_equal_in_what_a_rule_looks_at_are_evaluated_once() -> None:
    asked: list[str] = []

    def test(_: str, variables: Mapping[str, Any]) -> bool:
        asked.append(variables["tenant"]["region"])
        return bool(variables["tenant"]["region"] == "w")

    looks = Rule(
        "w", 1, RuleSpec.model_validate({"when": 'tenant.region == "w"', "then": {"refuse": True}, "reason": "r"}), USES
    )
    cases = [case(name, tenant={"name": name, "region": "w" if name < "d" else "e"}) for name in "abcdef"]
    found = rule_on([looks], cases, test)
    assert found.hits[0].tenants == ("a", "b", "c")
    assert asked == ["w", "e"]


def test_what_can_not_be_evaluated_stops_the_tenant_whatever_the_rule_would_do() -> None:
    def test(_: str, variables: Mapping[str, Any]) -> bool:
        raise InvalidError("There is no field 'brand'.", code="expression-invalid")

    found = rule_on([rule(approval={"group": "business"})], [case("a")], test)
    assert found.problem("a") == (
        "rule-unclear",
        "Rule close@3 can't be evaluated for it, so nobody knows what it says: There is no field 'brand'.",
    )
    missing = rule_on([rule(uses=("values",))], [case("a")], starts_with_a)
    assert "values is not known: not kept" in (missing.problem("a") or ("", ""))[1]
    assert found.problem("b") is None


def test_only_a_rule_that_refuses_and_looks_at_calendars_is_watched() -> None:
    assert rule_on([rule(uses=("calendar",))], [], starts_with_a).watched
    assert not rule_on([rule(uses=("calendar",), approval={"group": "business"})], [], starts_with_a).watched
    assert not rule_on([rule()], [], starts_with_a).watched


WAVES = [frozenset({"x"}), frozenset({"a", "b"}), frozenset({"c"}), frozenset({"d", "a2"})]


@pytest.mark.parametrize(
    ("then", "waves"),
    [
        ({"approval": {"group": "payments"}}, [1]),
        ({"approval": {"group": "payments", "waves": "each"}}, [1, 3]),
        ({"gate": {"backup": {}}}, [1, 3]),
        ({"refuse": True}, []),
        ({"strategy": "careful"}, []),
    ],
)
def test_gates_are_added_before_the_waves_that_have_such_a_tenant(then: dict[str, Any], waves: list[int]) -> None:
    added = gates_for(Ruling((Hit(rule(**then), ("a", "a2", "b")),)), WAVES)
    assert [index for index, gates in enumerate(added) if gates] == waves


def test_the_same_gate_is_added_once() -> None:
    one, two = Hit(rule(gate={"backup": {}}), ("a",)), Hit(rule("other", gate={"backup": {}}), ("b",))
    assert gates_for(Ruling((one, two)), WAVES)[1] == ({"backup": {}},)


def planned(ruling: Ruling, **limits: Any) -> Plan:
    return plan(
        PlanInputs(
            kind="deploy",
            app="odoo",
            environment="production",
            strategy=strategy(wave("pilot", count=1), wave("rest", percent="100%"), **limits),
            strategy_name="plain",
            strategy_version=1,
            targets=[target(name) for name in ("a", "b", "c")],
            now=NOW,
            release=RELEASE,
            ruling=ruling,
        )
    )


def test_the_plan_says_which_rules_applied_and_its_hash_covers_their_versions() -> None:
    plain = planned(Ruling())
    asked = planned(Ruling((Hit(rule(approval={"group": "payments", "waves": "each"}), ("a", "b")),)))
    newer = planned(Ruling((Hit(rule(version=4, approval={"group": "payments", "waves": "each"}), ("a", "b")),)))
    assert len({plain.plan_hash, asked.plan_hash, newer.plan_hash}) == 3
    assert [wave.before for wave in asked.waves] == [({"approval": {"group": "payments", "count": 1}},)] * 2
    assert [(r.rule, r.effect, r.tenants, r.examples) for r in asked.rules] == [("close@3", "approval", 2, ("a", "b"))]
    assert plain.rules == ()
    unclear = applied_rules(Ruling(unclear={"a": (rule(), "too large")}))
    assert (unclear[0].effect, unclear[0].reason) == ("unclear", "It can't be evaluated: too large")


@pytest.mark.parametrize(
    ("then", "lacking"),
    [
        ({"strategy": "careful"}, "requires strategy careful"),
        ({"strategy": "plain"}, ""),
        ({"require": {"gates": ["backup"]}}, "requires a gate backup before wave pilot"),
        ({"require": {"inFlight": 1}}, "at most 1 in flight (it has 2)"),
        ({"require": {"inFlight": 2}}, ""),
        ({"require": {"strategy": "careful", "inFlight": 1}}, "or use strategy careful"),
        ({"require": {"strategy": "plain", "inFlight": 1}}, ""),
    ],
)
def test_a_required_strategy_gate_or_limit_refuses_the_plan_and_says_what_is_lacking(
    then: dict[str, Any], lacking: str
) -> None:
    ruling = Ruling((Hit(rule(**then), ("a", "b", "c")),))
    limits = {"limits": {"inFlight": 2}}
    if not lacking:
        planned(ruling, **limits)
        return
    with pytest.raises(InvalidError) as refused:
        planned(ruling, **limits)
    assert refused.value.code == "strategy-required"
    assert lacking in refused.value.detail
    assert refused.value.extra["tenants"] == ["a", "b", "c"]


def test_a_requirement_of_tenants_that_are_not_in_the_plan_asks_nothing() -> None:
    made = planned(Ruling())
    check_required(Ruling((Hit(rule(strategy="careful"), ("elsewhere",)),)), "plain", made.waves, made.limits)


@pytest.mark.parametrize(
    "then",
    [
        {},
        {"refuse": False},
        {"refuse": True, "strategy": "x"},
        {"require": {}},
        {"gate": {}},
        {"gate": {"backup": {}, "approval": {}}},
    ],
)
def test_a_rule_says_exactly_one_thing(then: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RuleSpec.model_validate({"when": "true", "then": then, "reason": "r"})


def test_calendars_are_seen_by_those_they_select_and_what_is_attested_has_an_age() -> None:
    now = datetime(2026, 11, 24, 9, tzinfo=UTC)
    times = {
        "close-fr": CalendarTime(active=True, ends=now + timedelta(hours=6)),
        "peak": CalendarTime(active=False, starts=now + timedelta(hours=48)),
    }
    evidence = {"rehearsal": {"at": (now - timedelta(hours=30)).isoformat(), "passed": True}}
    release = release_variable(None, {}, proven=False, now=now)
    request = RolloutRequest(release="odoo/1", strategy="s", reason="VAT")
    maker = CaseMaker(
        {"1": release},
        rollout_variable("odoo", request, "s"),
        {"close-fr": "country=fr", "peak": ""},
        {"UTC": times},
        now,
    )

    def seen(country: str) -> Case:
        labels = {"country": country}
        where = {"tenant": country, "tier": "t", "region": "r", "cluster": "c", "environment": "production"}
        tenant = tenant_variable({**labels, **where}, labels, orders=1.0, running="")
        return maker.case(tenant, {**labels, **where}, "1", "sha256:v", {})

    assert seen("fr").variables["calendar"] == {
        "active": ["close-fr"],
        "endsIn": {"close-fr": 6.0},
        "startsIn": {"peak": 48.0},
    }
    assert seen("de").variables["calendar"]["active"] == []
    assert seen("fr").variables["rollout"]["reason"] == "VAT"
    blind = CaseMaker({}, {}, {}, "the calendar can't be expanded", now)
    lost = blind.case({"name": "a"}, {}, "1", "h", None)
    assert set(lost.unknown) == {"release", "values", "calendar"}
    from tests.gates.test_provenance import spec_of

    attested = release_variable(spec_of(), evidence, proven=True, now=now)
    assert attested["evidence"]["rehearsal"]["ageHours"] == 30.0
