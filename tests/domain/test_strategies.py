from __future__ import annotations

import copy
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.errors import InvalidError
from controlplane.domain.planner import plan
from controlplane.domain.strategies import MAX_WAVES, Strategy, parse_strategy
from tests.domain.fleet import fleet, inputs

GATES = {"approval", "metric"}
CAREFUL: dict[str, Any] = {
    "waves": [
        {
            "name": "pilot",
            "cut": {"selector": "ring=pilot"},
            "soak": {"for": "PT4H"},
            "after": [{"approval": {"group": "business", "count": 1}}],
        },
        {
            "name": "grow",
            "cut": {"growth": {"first": 1, "factor": 3, "stratifyBy": ["region", "tier"]}},
            "soak": {"for": "PT1H"},
        },
    ],
    "unmatched": "reject",
    "limits": {"inFlight": ["10%", 20], "unverified": "25%", "perCluster": 5},
    "success": {"min": "95%", "maxFailures": 1, "progressDeadline": "PT15M"},
    "during": [{"metric": {"use": "traefik-5xx", "max": 0.01}}],
    "windows": {"wait": "P2D", "then": "defer"},
    "onFailure": {"rollBack": "failed-targets", "then": "halt"},
}


def test_the_documented_strategy_is_read_and_reads_back_as_itself() -> None:
    strategy = parse_strategy(CAREFUL, gates=GATES)
    assert strategy.waves[0].soak.for_ == timedelta(hours=4)
    assert strategy.waves[1].cut.growth is not None
    assert strategy.waves[1].cut.growth.factor == Decimal(3)
    stored = strategy.model_dump(mode="json")
    assert stored["limits"]["inFlight"] == ["10%", 20]
    assert stored["schemaVersion"] == 1
    assert parse_strategy(stored, gates=GATES) == strategy


def test_a_strategy_of_one_wave_gets_careful_defaults() -> None:
    strategy = parse_strategy({"waves": [{"name": "all", "cut": {"percent": "100%"}}]})
    assert strategy.unmatched == "reject"
    assert strategy.success.max_failures.resolve(100) == 0
    assert strategy.on_failure.roll_back == "failed-targets"
    assert strategy.waves[0].soak.samples == 3


def changed(path: str, value: Any) -> dict[str, Any]:
    """The careful strategy with one thing changed, by JSON pointer."""
    body = copy.deepcopy(CAREFUL)
    *parents, last = path.strip("/").split("/")
    place: Any = body
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    if isinstance(place, list):
        place.insert(int(last), value)
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "pointer", "problem"),
    [
        ("/surprise", 1, "/surprise", "no field of this name"),
        ("/waves/0/cut/surprise", 1, "/waves/0/cut/surprise", "no field of this name"),
        ("/schemaVersion", 2, "/schemaVersion", "Input should be 1"),
        ("/waves", [], "/waves", "at least 1"),
        ("/waves/0/name", "Pilot", "/waves/0/name", "no DNS-1123 label: lower-case"),
        ("/waves/0/name", "grow", "/waves/1/name", "already at /waves/0"),
        ("/waves/0/name", "grow-1", "/waves/0/name", "growth of wave 'grow'"),
        ("/waves/0/cut", {}, "/waves/0/cut", "needs a selector"),
        ("/waves/0/cut", {"count": 1, "percent": "5%"}, "/waves/0/cut", "choose one"),
        ("/waves/0/cut", {"count": 0}, "/waves/0/cut/count", "greater than or equal to 1"),
        ("/waves/0/cut", {"percent": "0%"}, "/waves/0/cut/percent", "never let anything start"),
        ("/waves/0/cut", {"percent": "101%"}, "/waves/0/cut/percent", "above 100%"),
        ("/waves/0/cut", {"percent": 10}, "/waves/0/cut/percent", "string"),
        ("/waves/0/cut", {"selector": "ring in"}, "/waves/0/cut/selector", "'(' expected"),
        ("/waves/0/cut", {"selector": "a", "stratifyBy": ["tier"]}, "/waves/0/cut/stratifyBy", "only with count"),
        ("/waves/1/cut/growth/factor", 0, "/waves/1/cut/growth/factor", "greater than or equal to 1"),
        ("/waves/1/cut/growth/factor", "3", "/waves/1/cut/growth/factor", "a factor is a number"),
        ("/waves/1/cut/growth/first", 0, "/waves/1/cut/growth/first", "greater than or equal to 1"),
        ("/waves/2", {"name": "late", "cut": {"count": 1}}, "/waves/2/cut", "'grow' already takes every target"),
        ("/waves/1", {"name": "again", "cut": {"selector": "ring = pilot"}}, "/waves/1/cut", "'pilot' already takes"),
        ("/waves/0/soak/for", "4 hours", "/waves/0/soak/for", "ISO 8601"),
        ("/waves/0/soak/samples", 0, "/waves/0/soak/samples", "greater than or equal to 1"),
        ("/limits/inFlight", "120%", "/limits/inFlight", "above 100%"),
        ("/limits/inFlight", 0, "/limits/inFlight", "to stop everything, freeze"),
        ("/limits/perCluster", ["10%", 0], "/limits/perCluster", "never let anything start"),
        ("/limits/unverified", [], "/limits/unverified", "limits nothing"),
        ("/success/min", 0, "/success/min", "without one healthy target"),
        ("/success/maxFailures", -1, "/success/maxFailures", "whole number"),
        ("/success/progressDeadline", "PT0S", "/success/progressDeadline", "longer than PT0S"),
        ("/unmatched", "ignore", "/unmatched", "'reject', 'last' or 'exclude'"),
        ("/onFailure/rollBack", "all", "/onFailure/rollBack", "'failed-targets', 'wave' or 'rollout'"),
        ("/whenBusy", "kill", "/whenBusy", "'queue', 'supersede' or 'reject'"),
    ],
)
def test_a_mistake_is_refused_and_pointed_at(path: str, value: Any, pointer: str, problem: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_strategy(changed(path, value), gates=GATES)
    assert caught.value.code == "invalid-strategy"
    found = [e.detail for e in caught.value.errors if e.pointer == pointer]
    assert found, caught.value.errors
    assert any(problem in detail for detail in found), found


def test_percents_of_the_same_targets_may_not_add_up_to_more_than_all() -> None:
    waves = [{"name": f"w{n}", "cut": {"percent": "40%"}} for n in range(3)]
    with pytest.raises(InvalidError) as caught:
        parse_strategy({"waves": waves})
    assert [(e.pointer, e.detail) for e in caught.value.errors] == [
        ("/waves/2/cut/percent", "percents add up to 120% of the same targets")
    ]


def test_every_mistake_is_named_at_once() -> None:
    body = changed("/limits/inFlight", 0)
    body["waves"][0]["cut"] = {}
    body["success"]["min"] = 0
    with pytest.raises(InvalidError) as caught:
        parse_strategy(body, gates=GATES)
    assert [e.pointer for e in caught.value.errors] == ["/waves/0/cut", "/limits/inFlight", "/success/min"]


@pytest.mark.parametrize("body", [None, [], "x", 7])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(InvalidError):
        parse_strategy(body)


def test_more_waves_than_the_limit_are_refused() -> None:
    waves = [{"name": f"w{n}", "cut": {"count": 1}} for n in range(MAX_WAVES + 1)]
    with pytest.raises(InvalidError) as caught:
        parse_strategy({"waves": waves})
    assert caught.value.errors[0].pointer == "/waves"


def test_a_gate_nobody_built_is_refused_not_ignored() -> None:
    with pytest.raises(InvalidError) as caught:
        parse_strategy(CAREFUL, gates={"approval"})
    assert caught.value.code == "gate-not-available"
    assert [e.pointer for e in caught.value.errors] == ["/during/0"]
    assert "Gate kind 'metric' is not available here. Available: approval." in caught.value.detail


@pytest.mark.parametrize("gate", [{}, {"approval": {}, "metric": {}}])
def test_a_gate_that_is_not_one_kind_is_refused(gate: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match="one key"):
        parse_strategy(changed("/waves/0/before", [gate]), gates=GATES)


def test_the_json_schema_can_be_made() -> None:
    assert "waves" in Strategy.model_json_schema()["properties"]


def places(body: Any, path: str = "") -> list[str]:
    """Every JSON pointer into a body."""
    items: list[tuple[Any, Any]] = (
        list(body.items()) if isinstance(body, dict) else list(enumerate(body)) if isinstance(body, list) else []
    )
    return [p for key, value in items for p in (f"{path}/{key}", *places(value, f"{path}/{key}"))]


def put(place: Any, path: list[str], value: Any) -> None:
    """Write a value at a place; nothing happens where an earlier change took the place away."""
    head, *rest = path
    if isinstance(place, list):
        keyed: Any = int(head) if head.isdigit() else len(place)
        there = keyed < len(place)
    else:
        keyed, there = head, isinstance(place, dict) and head in place
    if there and rest:
        put(place[keyed], rest, value)
    elif there:
        place[keyed] = value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["0%", "50%", "PT1H", "P3660D", "last"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["selector", "count", "percent", "for", "min", "x"]), inner)
    ),
    max_leaves=4,
)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(places(CAREFUL)), JSON), min_size=1, max_size=3))
def test_whatever_is_written_into_a_strategy_ends_in_a_plan_or_a_clear_refusal(changes: list[tuple[str, Any]]) -> None:
    body = copy.deepcopy(CAREFUL)
    for path, value in changes:
        put(body, path.strip("/").split("/"), value)
    try:
        made = plan(inputs(fleet(30), parse_strategy(body, gates=GATES)))
    except InvalidError as refusal:
        detail = refusal.detail
    else:
        detail = made.plan_hash
    assert detail


def test_years_of_soak_over_many_rounds_end_with_the_calendar() -> None:
    rules = parse_strategy(
        {"waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "P3660D"}}], "limits": {"inFlight": 1}}
    )
    assert plan(inputs(fleet(1000), rules)).waves[0].expected_by.year == 9999
