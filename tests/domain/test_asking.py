"""People are asked when their yes would let something proceed, and told what comes first until then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controlplane.domain.asking import why_not_yet
from controlplane.domain.engine import Frozen, Memory, RolloutNow
from controlplane.domain.gating import GateKey, GateNow, Verdict
from controlplane.domain.rollouts import RolloutState, TargetState
from controlplane.domain.windows import Closed

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
METRIC, ASKS = GateKey(1, "before", 0), GateKey(1, "before", 1)


def memory(**changes: Any) -> Memory:
    """Two waves of two; before the second a metric, then people."""
    gates = {
        METRIC: GateNow(METRIC, "metric", {}, Verdict.PASS),
        ASKS: GateNow(ASKS, "approval", {"group": "business"}),
    }
    values: dict[str, Any] = {
        "rollout": RolloutNow(RolloutState.RUNNING, NOW),
        "gates": gates,
        "frozen": Frozen(),
        "closed": Closed(),
        "waves": [SimpleNamespace(order=("a", "b")), SimpleNamespace(order=("c", "d"))],
        "targets": {t: SimpleNamespace(state=TargetState.PENDING) for t in "abcd"},
    }
    return cast("Memory", SimpleNamespace(**{**values, **changes}))


def test_they_are_asked_when_nothing_else_stands_in_the_way() -> None:
    assert why_not_yet(memory(), ASKS) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rollout": RolloutNow(RolloutState.PAUSED, NOW)}, "the rollout is paused"),
        ({"rollout": RolloutNow(RolloutState.RUNNING, NOW, halted="gate-failed")}, "the rollout is ending"),
        ({"rollout": RolloutNow(RolloutState.RUNNING, NOW, abort="finish")}, "the rollout is ending"),
        ({"frozen": Frozen("Black Friday")}, "everything is frozen (Black Friday)"),
        ({"frozen": Frozen(tenants=frozenset("cd"))}, "every tenant of the wave is frozen"),
    ],
)
def test_what_comes_first_is_said(changes: dict[str, Any], why: str) -> None:
    assert why_not_yet(memory(**changes), ASKS) == why


def test_a_gate_before_theirs_is_looked_at_first() -> None:
    here = memory()
    gates = {**here.gates, METRIC: replace(here.gates[METRIC], verdict=Verdict.UNKNOWN, reason="no series")}
    assert why_not_yet(memory(gates=gates), ASKS) == "the gate metric before it does not pass (no series)"
    assert why_not_yet(memory(gates=gates), METRIC) == ""


def test_a_frozen_part_of_the_wave_or_another_wave_does_not_keep_people_from_being_asked() -> None:
    assert why_not_yet(memory(frozen=Frozen(tenants=frozenset("abc"))), ASKS) == ""
    after_first = GateKey(0, "after", 0)
    assert why_not_yet(memory(frozen=Frozen(tenants=frozenset("ab"))), after_first) == ""
    assert why_not_yet(memory(frozen=Frozen(tenants=frozenset("cd"))), after_first) != ""


def test_what_watches_a_wave_is_never_held_up() -> None:
    frozen = memory(frozen=Frozen("Black Friday"), rollout=RolloutNow(RolloutState.PAUSED, NOW))
    assert why_not_yet(frozen, GateKey(0, "during", 0)) == ""
