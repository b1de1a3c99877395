"""The gate of docs/how-to/write-a-gate.md, as it stands there: one file and one line are enough."""

from __future__ import annotations

import re
import sys
import types
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain.errors import InvalidError
from controlplane.domain.gating import Verdict
from controlplane.domain.strategies import parse_strategy
from controlplane.gates import GATES, check_gates
from controlplane.ports.gates import Gate
from tests.gates.scene import scene

PAGE = Path(__file__).parents[2] / "docs/how-to/write-a-gate.md"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate[Any]:
    """The gate of the page, registered as its one line does."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    module = types.ModuleType("controlplane.gates.weekday")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(found[1], str(PAGE), "exec"), module.__dict__)
    made: Gate[Any] = module.WeekdayGate()
    monkeypatch.setitem(GATES, made.kind, made)
    return made


def strategy(body: dict[str, Any]) -> Any:
    return {"waves": [{"name": "all", "cut": {"percent": "100%"}, "before": [{"weekday": body}]}]}


async def test_the_gate_of_the_page_measures_judges_and_says_until_when(gate: Gate[Any]) -> None:
    spec = gate.spec.model_validate({"on": ["monday", "tuesday"]})
    tuesday = replace(scene(), now=datetime(2026, 11, 24, 9, 30, tzinfo=UTC))
    friday = replace(scene(), now=datetime(2026, 11, 27, 9, 30, tzinfo=UTC))
    nothing: Any = None
    assert gate.judge(spec, tuesday, await gate.observe(spec, tuesday, nothing)).verdict is Verdict.PASS
    waits = gate.judge(spec, friday, await gate.observe(spec, friday, nothing))
    assert (waits.verdict, waits.until) == (Verdict.WAIT, datetime(2026, 11, 28, tzinfo=UTC))
    assert waits.reason == "friday is not one of monday, tuesday"


def test_a_strategy_may_name_it_and_its_body_is_checked_with_a_pointer(gate: Gate[Any]) -> None:
    good = parse_strategy(strategy({"on": ["monday"]}), gates=GATES)
    check_gates(good)
    with pytest.raises(InvalidError) as wrong:
        check_gates(parse_strategy(strategy({"on": ["moonday"]}), gates=GATES))
    assert wrong.value.errors[0].pointer == "/waves/0/before/0/weekday/on/0"


def test_without_its_line_a_strategy_that_names_it_is_refused() -> None:
    with pytest.raises(InvalidError) as refused:
        parse_strategy(strategy({"on": ["monday"]}), gates=GATES)
    assert refused.value.code == "gate-not-available"
