"""Notice periods: what asks for one, and whom a plan wants told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from controlplane.domain.notices import NoticeSpec, noticed_in, why_noticed
from controlplane.domain.planner import plan

from .fleet import fleet, inputs, strategy


def spec(**body: Any) -> NoticeSpec:
    return NoticeSpec.model_validate({"period": "P7D", **body})


@pytest.mark.parametrize(
    ("asks", "database", "risks", "why"),
    [
        (spec(), "none", ["tax"], ""),
        (spec(), "forward-only", [], "it changes the database (forward-only)"),
        (spec(database=["forward-only"]), "reversible", [], ""),
        (spec(database=[], risks=["tax", "pricing"]), "none", ["schema", "tax"], "it touches tax"),
        (
            spec(risks=["tax"]),
            "reversible",
            ["tax"],
            "it changes the database (reversible) and it touches tax",
        ),
    ],
)
def test_a_change_of_the_database_or_a_named_risk_asks_for_notice(
    asks: NoticeSpec, database: str, risks: list[str], why: str
) -> None:
    assert why_noticed(asks, database, risks) == why


def test_a_plan_wants_those_told_whose_wave_has_the_gate_for_the_longest_of_its_periods() -> None:
    gates = ({"notice": {"period": "P2D"}}, {"notice": {"period": "P7D"}})
    waves = ({"name": "pilot", "cut": {"count": 1}}, {"name": "rest", "cut": {"percent": "100%"}})
    made = plan(inputs(fleet(3), strategy(*waves)))
    rest = made.waves[1].model_copy(update={"before_each": gates})
    made = made.model_copy(update={"waves": (made.waves[0], rest)})
    found = noticed_in(made, "forward-only", ())
    assert sorted(found) == sorted(target.tenant for target in rest.targets)
    assert {period for _, period in found.values()} == {timedelta(days=7)}
    assert noticed_in(made, "none", ()) == {}
    assert noticed_in(made.model_copy(update={"kind": "rollback"}), "forward-only", ()) == {}
