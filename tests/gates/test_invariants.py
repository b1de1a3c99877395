"""The invariants gate, judged: which number breaks which check, and what can't be compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.errors import InvalidError
from controlplane.domain.gating import GateKey, Verdict
from controlplane.domain.strategies import parse_strategy
from controlplane.gates import GATES, check_gates
from controlplane.gates.invariants import Check, InvariantsGate, InvariantsSpec, broken_by
from tests.gates.scene import scene
from tests.support.charts import IMAGE

SPEC = InvariantsSpec.model_validate(
    {
        "name": "stock",
        "probe": {"image": IMAGE, "command": ["/bin/count"]},
        "checks": [{"result": "stock"}, {"result": "orders", "is": "not-lower"}],
    }
)
AFTER = replace(scene("a", "b"), key=GateKey(0, "during", 0), changed=("a", "b"))


def shown(numbers: dict[str, float], was: dict[str, float] | None = None, error: str = "") -> dict[str, Any]:
    return {"numbers": numbers, "was": was, "error": error}


GOOD = shown({"stock": 5, "orders": 9}, {"stock": 5, "orders": 7})


def test_a_broken_number_names_its_tenant_and_no_other() -> None:
    evidence = {
        "name": "stock",
        "targets": {"a": GOOD, "b": shown({"stock": 4, "orders": 9}, {"stock": 5, "orders": 7})},
    }
    judged = InvariantsGate().judge(SPEC, AFTER, evidence)
    assert (judged.verdict, judged.tenants) == (Verdict.FAIL, ("b",))
    assert judged.reason == "1 of 2 tenants: b: stock was 5 and is 4, and must be equal"
    assert InvariantsGate().judge(SPEC, AFTER, {"targets": {"a": GOOD}}).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("one", "verdict", "reason"),
    [
        (shown({"stock": 5, "orders": 9}), Verdict.UNKNOWN, "no numbers from before"),
        (shown({"stock": 5, "orders": 9}, {"stock": 5}), Verdict.UNKNOWN, "no numbers from before"),
        (shown({"stock": 5}, {"stock": 5, "orders": 7}), Verdict.UNKNOWN, "the probe says no orders"),
        (shown({}, {"stock": 5, "orders": 7}, "its Job failed"), Verdict.UNKNOWN, "could not measure: its Job failed"),
    ],
)
def test_what_can_not_be_compared_is_unknown(one: dict[str, Any], verdict: Verdict, reason: str) -> None:
    judged = InvariantsGate().judge(SPEC, AFTER, {"targets": {"a": one}})
    assert judged.verdict is verdict
    assert reason in judged.reason


def test_before_the_change_it_passes_once_every_number_is_known() -> None:
    known, lost = shown({"stock": 5, "orders": 9}), shown({}, error="the cluster is away")
    gate = InvariantsGate()
    assert gate.judge(SPEC, scene("a"), {"targets": {"a": known}}).verdict is Verdict.PASS
    assert gate.judge(SPEC, scene("a", "b"), {"targets": {"a": known, "b": lost}}).verdict is Verdict.UNKNOWN
    assert gate.judge(SPEC, scene("a"), {"error": "no probes", "targets": {}}).verdict is Verdict.UNKNOWN
    assert gate.judge(SPEC, scene("a"), {"targets": {}}).verdict is Verdict.UNKNOWN


def test_while_nobody_has_settled_there_is_nothing_to_count() -> None:
    assert InvariantsGate().judge(SPEC, AFTER, {"targets": {}}).verdict is Verdict.WAIT


@pytest.mark.parametrize(
    ("check", "was", "now", "breaks"),
    [
        ({"is": "equal"}, 5, 5, False),
        ({"is": "equal"}, 5, 5.001, True),
        ({"is": "not-lower"}, 5, 6, False),
        ({"is": "not-lower"}, 5, 4, True),
        ({"is": "not-higher"}, 5, 5, False),
        ({"is": "not-higher"}, 5, 6, True),
        ({"is": "within", "tolerance": "1%"}, 1000, 1010, False),
        ({"is": "within", "tolerance": "1%"}, 1000, 1011, True),
        ({"is": "within", "tolerance": "1%"}, -1000, -1010, False),
        ({"is": "within", "tolerance": "1%"}, 0, 0.1, True),
        ({"is": "within", "tolerance": 2}, 0, 2, False),
        ({"is": "within", "tolerance": 2}, 0, -3, True),
    ],
)
def test_each_check_compares_as_it_says(check: dict[str, Any], was: float, now: float, breaks: bool) -> None:
    assert bool(broken_by(Check.model_validate({"result": "x", **check}), was, now)) is breaks


@pytest.mark.parametrize(
    "check", [{"is": "within"}, {"tolerance": 1}, {"is": "within", "tolerance": -1.0}, {"is": "near"}]
)
def test_a_check_that_makes_no_sense_is_refused(check: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Check.model_validate({"result": "x", **check})


def test_a_tenant_that_ran_nothing_before_has_nothing_to_compare() -> None:
    gate, first = InvariantsGate(), {"targets": {"a": {"first": True}}}
    assert gate.judge(SPEC, scene("a"), first).verdict is Verdict.PASS
    assert gate.judge(SPEC, AFTER, first).verdict is Verdict.PASS


def test_a_gate_that_compares_needs_one_of_its_name_that_counts_before() -> None:
    body = {"invariants": SPEC.model_dump(mode="json", by_alias=True)}
    wave = {"name": "all", "cut": {"percent": "100%"}}
    check_gates(parse_strategy({"waves": [{**wave, "beforeEach": [body], "after": [body]}]}, gates=GATES))
    check_gates(parse_strategy({"waves": [{**wave, "before": [body]}], "during": [body]}, gates=GATES))
    for lonely in ({"waves": [{**wave, "after": [body]}]}, {"waves": [wave], "during": [body]}):
        with pytest.raises(InvalidError) as refused:
            check_gates(parse_strategy(lonely, gates=GATES))
        assert "no invariants gate 'stock' in before or beforeEach" in refused.value.errors[0].detail
