"""Risk rules when a rollout is planned and started: on real PostgreSQL, with real CEL over real values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from controlplane.domain.errors import ConflictError, InvalidError
from controlplane.domain.evidence import EvidenceWish
from controlplane.domain.plans import Plan
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.domain.rule_variables import CalendarTime
from controlplane.services.evidence import register_evidence
from controlplane.services.rollouts.prepare import prepare
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.support.registry import Fleet


def rule(fleet: Fleet, when: str, name: str = "careful", **then: Any) -> None:
    fleet.config("rules", name, {"when": when, "then": then or {"refuse": True}, "reason": "Close of the year."})


def ask(**changes: object) -> Ask:
    return Ask(RolloutRequest.model_validate({"release": "odoo/18.0", "strategy": "all", **changes}))


async def plan(tools: RolloutTools, **changes: object) -> Plan:
    return (await prepare(tools, ask(**changes), to_start=False)).plan


@pytest.fixture(autouse=True)
def risky(fleet: Fleet) -> None:
    """A release that touches payments, and one that doesn't (17.0.4)."""
    fleet.release("18.0", risks=["payments", "inventory"], database={"change": "reversible"})
    fleet.run("update tenants set labels = jsonb_build_object('country', right(tenant, 2))")


async def test_a_rule_leaves_the_tenants_it_refuses_out_and_the_preview_says_which_and_why(
    fleet: Fleet, tools: RolloutTools
) -> None:
    rule(fleet, '"payments" in release.risks && tenant.labels.country == "fr"')
    made = await plan(tools)
    assert {(e.tenant, e.code) for e in made.excluded} == {("acme-fr", "rule-refused"), ("zed-fr", "rule-refused")}
    assert made.excluded[0].detail == "Rule careful@1 refuses it: Close of the year."
    assert [(r.rule, r.effect, r.tenants) for r in made.rules] == [("careful@1", "refuse", 2)]
    assert (await plan(tools, release="odoo/17.0.4")).rules == ()


async def test_nothing_starts_where_a_rule_refuses_everybody(fleet: Fleet, tools: RolloutTools) -> None:
    rule(fleet, 'release.database.change != "none"')
    with pytest.raises(ConflictError) as refused:
        await plan_and_start(tools, ask(), actor="mia", origin={"kind": "person"})
    assert refused.value.code == "rule-refused"
    assert "Close of the year." in refused.value.detail


async def test_a_rule_of_a_newer_version_changes_the_plan_that_somebody_said_yes_to(
    fleet: Fleet, tools: RolloutTools
) -> None:
    rule(fleet, '"payments" in release.risks', approval={"group": "payments", "waves": "each"})
    seen = await plan(tools)
    assert seen.waves[0].before == ({"approval": {"group": "payments", "count": 1}},)
    rule(fleet, '"payments" in release.risks && true', approval={"group": "payments", "waves": "each"})
    with pytest.raises(ConflictError) as changed:
        await plan_and_start(tools, ask(), actor="mia", origin={"kind": "person"}, if_plan_hash=seen.plan_hash)
    assert changed.value.code == "plan-changed"


async def test_inventory_before_a_peak_needs_a_rehearsal_younger_than_three_days(
    fleet: Fleet, tools: RolloutTools
) -> None:
    when = (
        '"inventory" in release.risks && "peak" in calendar.startsIn && calendar.startsIn["peak"] < 240.0'
        " && !(has(release.evidence.rehearsal) && release.evidence.rehearsal.ageHours < 72.0)"
    )
    rule(fleet, when)
    fleet.config("calendars", "peak", {"ics": "x", "effect": "deny"})
    planning = replace(tools, times=Calendars(starts_in=timedelta(days=5)))
    assert len((await plan(planning)).excluded) == 4
    async with tools.open() as uow:
        wish = EvidenceWish(kind="rehearsal", at=uow.now - timedelta(days=4))
        await register_evidence(uow, "odoo", "18.0", wish, actor="ci")
    assert len((await plan(planning)).excluded) == 4
    async with tools.open() as uow:
        await register_evidence(uow, "odoo", "18.0", EvidenceWish(kind="rehearsal", at=uow.now), actor="ci")
    made = await plan(planning)
    assert made.excluded == ()
    assert (made.waves[0].before, made.waves[0].before_each) == ((), ({"rules": {}},))
    later = replace(tools, times=Calendars(starts_in=timedelta(days=30)))
    assert (await plan(later)).excluded == ()


@dataclass(frozen=True)
class Calendars:
    """Calendars that say what the test wants; how texts are expanded has tests of its own."""

    starts_in: timedelta

    async def at(self, calendars: Any, zone: str, now: Any) -> dict[str, CalendarTime]:
        return {name: CalendarTime(active=False, starts=now + self.starts_in) for name in calendars}


async def test_without_calendars_a_rule_that_asks_for_them_stops_everybody(fleet: Fleet, tools: RolloutTools) -> None:
    rule(fleet, '"close" in calendar.active')
    made = await plan(tools)
    assert {e.code for e in made.excluded} == {"rule-unclear"}
    assert "calendar is not known: this process reads no calendars" in made.excluded[0].detail


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ("release.version", "not true or false"),
        ("tenant.labels.brand == 'x'", "There is no field"),
        ("values.big.all(x, values.big.all(y, x != y))", "too many steps"),
    ],
)
async def test_a_text_a_missing_field_and_a_loop_without_end_fail_closed_with_the_reason(
    fleet: Fleet, tools: RolloutTools, when: str, why: str
) -> None:
    fleet.run(
        """update tenant_apps set "values" = jsonb_build_object('big', (select jsonb_agg(n) from generate_series(1, 2000) n))"""
    )
    rule(fleet, when)
    made = await plan(tools)
    assert {e.code for e in made.excluded} == {"rule-unclear"}
    assert why in made.excluded[0].detail


async def test_a_rule_may_look_at_the_values_that_a_tenant_would_get(fleet: Fleet, tools: RolloutTools) -> None:
    fleet.run("""update tenant_apps set "values" = '{"replicas": 9}' where tenant = 'zed-de'""")
    rule(fleet, "values.replicas > 5", approval={"group": "platform", "count": 2})
    made = await plan(tools)
    assert made.rules[0].examples == ("zed-de",)
    assert made.waves[0].before == ({"approval": {"group": "platform", "count": 2}},)


async def test_a_required_strategy_refuses_every_other_one(fleet: Fleet, tools: RolloutTools) -> None:
    rule(fleet, '"payments" in release.risks', strategy="careful")
    with pytest.raises(InvalidError) as refused:
        await plan(tools)
    assert (refused.value.code, refused.value.extra["rule"]) == ("strategy-required", "careful@1")
    fleet.config("strategies", "careful", {"waves": [{"name": "all", "cut": {"percent": "100%"}}]})
    assert (await plan(tools, strategy="careful")).size == 4


async def test_a_way_back_is_not_held_up_by_rules(fleet: Fleet, tools: RolloutTools) -> None:
    fleet.runs(["acme-fr"], "17.0.4")
    rule(fleet, "true")
    made = await plan(tools, kind="rollback", release=None, app="odoo", selector="tenant=acme-fr")
    assert (made.size, made.rules) == (1, ())


async def test_a_process_that_evaluates_nothing_plans_nothing_while_there_are_rules(
    fleet: Fleet, tools: RolloutTools
) -> None:
    rule(fleet, "false")
    assert (await plan(tools)).size == 4
    blind = await plan(replace(tools, expressions=None))
    assert {e.code for e in blind.excluded} == {"rule-unclear"}
