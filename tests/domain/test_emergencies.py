"""The emergency lane leaves out what is named, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from controlplane.domain.emergencies import (
    Criterion,
    EmergencyRequest,
    LeftOut,
    check_emergency,
    check_size,
    relieved,
)
from controlplane.domain.errors import InvalidError
from controlplane.domain.strategies import Strategy

CRITERION = Criterion(description="A wrong tax rate", skip=("approval", "window"), apps=("odoo",), max_targets=40)
WISH = {"criterion": "tax", "reason": "wrong VAT since midnight"}
STRATEGY = Strategy.model_validate(
    {
        "waves": [
            {
                "name": "pilot",
                "cut": {"count": 1},
                "before": [{"approval": {"group": "business"}}, {"metric": {"query": "up", "max": 1}}],
                "after": [{"approval": {"group": "business"}}],
            },
            {"name": "rest", "cut": {"percent": "100%"}},
        ],
        "during": [{"metric": {"query": "up", "max": 1}}],
        "limits": {"inFlight": 2, "unverified": 3},
        "success": {"maxFailures": 0},
    }
)


def wish(**changes: Any) -> EmergencyRequest:
    return EmergencyRequest.model_validate({**WISH, **changes})


def test_only_the_named_kinds_are_left_out_and_each_is_told() -> None:
    lighter, left = relieved(STRATEGY, ("approval",))
    assert left == (
        LeftOut(wave="pilot", place="before", kind="approval"),
        LeftOut(wave="pilot", place="after", kind="approval"),
    )
    assert [next(iter(g)) for g in lighter.waves[0].before] == ["metric"]
    assert lighter.during == STRATEGY.during


@given(st.sets(st.sampled_from(["approval", "metric", "webhook", "window", "soak"])))
def test_limits_soak_success_and_the_way_back_are_never_touched(skip: set[str]) -> None:
    lighter, _ = relieved(STRATEGY, skip)
    gates = {"before": (), "before_each": (), "after": ()}
    bare = [wave.model_copy(update=gates) for wave in lighter.waves]
    assert bare == [wave.model_copy(update=gates) for wave in STRATEGY.waves]
    rest = {"waves": (), "during": ()}
    assert lighter.model_copy(update=rest) == STRATEGY.model_copy(update=rest)


@pytest.mark.parametrize(
    ("changes", "app", "pointer"),
    [
        ({"skip": ["approval", "metric"]}, "odoo", "/emergency/skip/1"),
        ({"freezes": ["01990000-0000-7000-8000-000000000000"]}, "odoo", "/emergency/freezes"),
        ({}, "pos-sync", "/emergency/criterion"),
    ],
)
def test_what_the_criterion_does_not_name_is_refused(changes: dict[str, Any], app: str, pointer: str) -> None:
    with pytest.raises(InvalidError) as refused:
        check_emergency("tax@1", CRITERION, wish(**changes), app, "")
    assert (refused.value.code, [e.pointer for e in refused.value.errors]) == ("emergency-refused", [pointer])


def test_the_number_of_a_change_and_the_size_are_the_criterions_to_ask_for() -> None:
    with pytest.raises(InvalidError):
        check_emergency("tax@1", CRITERION.model_copy(update={"needs_change_ref": True}), wish(), "odoo", "")
    check_emergency("tax@1", CRITERION, wish(skip=["window"]), "odoo", "")
    check_size("tax@1", CRITERION, 40)
    with pytest.raises(InvalidError):
        check_size("tax@1", CRITERION, 41)


@pytest.mark.parametrize("reason", ["", "urgent", "asap please", "x" * 1001, " " * 30])
def test_a_reason_that_says_nothing_is_refused(reason: str) -> None:
    with pytest.raises(ValidationError):
        wish(reason=reason)
