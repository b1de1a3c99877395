"""Gates before single targets: who may pass, and for how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controlplane.domain.gating import GateNow, Verdict, gates_of_target, passage
from controlplane.domain.planner import plan

from .fleet import NOW, fleet, inputs, strategy

ASKED: tuple[dict[str, Any], ...] = ({"webhook": {}}, {"webhook": {"n": 2}})
PLANNED = plan(inputs(fleet(3), strategy({"name": "all", "cut": {"percent": "100%"}})))
PLAN = PLANNED.model_copy(update={"waves": (PLANNED.waves[0].model_copy(update={"before_each": ASKED}),)})
GATES = gates_of_target(PLAN, 0, "t00001")
LATER = NOW + timedelta(seconds=30)


def said(verdict: Verdict, *, valid: bool = True) -> GateNow:
    return replace(GATES[0], verdict=verdict, since=NOW, until=LATER if valid else NOW)


@pytest.mark.parametrize(
    ("gates", "passed"),
    [
        ((), "open"),
        ((GATES[0],), "unasked"),
        ((said(Verdict.PASS),), "open"),
        ((said(Verdict.PASS, valid=False),), "unasked"),
        ((said(Verdict.WAIT),), "waiting"),
        ((said(Verdict.UNKNOWN),), "waiting"),
        ((said(Verdict.PASS), GATES[1]), "unasked"),
        ((GATES[0], said(Verdict.WAIT)), "waiting"),
        ((said(Verdict.PASS), said(Verdict.PASS)), "open"),
    ],
)
def test_a_target_passes_when_all_its_gates_do_and_a_pass_counts_for_a_while_only(
    gates: tuple[GateNow, ...], passed: str
) -> None:
    assert passage(gates, NOW) == passed


def test_the_gates_of_a_target_carry_its_name_and_what_they_ask() -> None:
    assert [(gate.key.tenant, gate.key.index, gate.kind, gate.spec) for gate in GATES] == [
        ("t00001", 0, "webhook", {}),
        ("t00001", 1, "webhook", {"n": 2}),
    ]
