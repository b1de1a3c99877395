"""The rules gate, judged: who is refused waits, what can't be evaluated is unknown, and a way back is not asked."""

from __future__ import annotations

from controlplane.domain.gating import Verdict
from controlplane.domain.ruling import REFUSED, UNCLEAR
from controlplane.gates.rules import RulesGate, RulesSpec
from controlplane.ports.gates import GatePorts
from tests.gates.scene import back, scene
from tests.gates.test_provenance import NoVotes

EVIDENCE = {
    "targets": {"a": None, "b": [REFUSED, "Rule close@3 refuses it."], "c": [UNCLEAR, "Rule x@1 can't be evaluated."]}
}


def test_each_tenant_is_judged_on_its_own_and_a_wave_by_the_worst() -> None:
    each = RulesGate().judge_each(RulesSpec(), scene("a", "b", "c"), EVIDENCE)
    assert {tenant: one.verdict for tenant, one in each.items()} == {
        "a": Verdict.PASS,
        "b": Verdict.WAIT,
        "c": Verdict.UNKNOWN,
    }
    assert each["b"].who == "release-manager"
    assert RulesGate().judge(RulesSpec(), scene("a", "b", "c"), EVIDENCE).verdict is Verdict.UNKNOWN


def test_a_way_back_needs_no_rules_leave() -> None:
    each = RulesGate().judge_each(RulesSpec(), back("a", "b"), EVIDENCE)
    assert {one.verdict for one in each.values()} == {Verdict.PASS}


async def test_a_process_that_evaluates_nothing_does_not_know() -> None:
    evidence = await RulesGate().observe(RulesSpec(), scene("a"), GatePorts(NoVotes()))
    assert RulesGate().judge(RulesSpec(), scene("a"), evidence).verdict is Verdict.UNKNOWN
    assert RulesGate().judge_each(RulesSpec(), scene("a"), evidence)["a"].verdict is Verdict.UNKNOWN
