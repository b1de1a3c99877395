"""What a vote may change, and what it never may."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.blame import Judged, Touch, Verdict
from controlplane.domain.blame_acts import (
    RECOVERS,
    Accused,
    Case,
    evidence_of,
    rests_on_something_new,
    rule,
)
from tests.domain.test_blame import NOW, reached

HARMED = frozenset({"a", "b"})
GUILTY = Judged(
    "blamed", "sync: 2 of the 2 tenants it reached fell ill after it.", ("rollout/r1",), 2, (), HARMED, "sync"
)
RUNS = Accused("r1", "deploy", "running")


def case(**changes: Any) -> Case:
    made = Case(GUILTY, "r2", frozenset({"stop"}), RUNS, goes_on=False, fresh=True, now=NOW)
    return replace(made, **changes)


def test_a_rollout_that_runs_and_is_clearly_blamed_is_stopped_and_its_harm_does_not_count_against_the_asker() -> None:
    ruling = rule(case())
    assert (ruling.act, ruling.excused) == ("stop", HARMED)


def test_the_same_vote_stops_once_and_goes_on_excusing_until_the_guilty_one_has_gone_back() -> None:
    assert rule(case(fresh=False)).act == "stopped"
    back = replace(RUNS, state="failed", outcome="blamed", ended_at=NOW)
    assert rule(case(accused=back, now=NOW + RECOVERS / 2)).excused == HARMED
    assert rule(case(accused=back, now=NOW + RECOVERS)).excused == frozenset()


@pytest.mark.parametrize(
    "changes",
    [
        {"asker": "r1"},
        {"policies": frozenset({"stop", "show"})},
        {"accused": replace(RUNS, policy="show")},
        {"accused": replace(RUNS, kind="rollback")},
        {"accused": replace(RUNS, emergency=True)},
        {"accused": replace(RUNS, state="succeeded", outcome="succeeded", ended_at=NOW)},
        {"accused": None, "judged": replace(GUILTY, blamed=("cluster/aks-1@4",))},
        {"accused": None, "judged": replace(GUILTY, blamed=("calendar/sale@1",))},
        {"judged": replace(GUILTY, verdict="tied", blamed=("rollout/r1", "rollout/r2"), harmed=frozenset())},
        {"judged": replace(GUILTY, verdict="unclear", blamed=(), harmed=frozenset())},
    ],
)
def test_of_all_else_people_are_told_and_nothing_changes(changes: dict[str, Any]) -> None:
    ruling = rule(case(**changes))
    assert (ruling.act, ruling.excused) == ("tell", frozenset())
    assert ruling.why


def test_a_campaign_is_waited_out_while_it_goes_on() -> None:
    ruling = rule(case(accused=None, goes_on=True, judged=replace(GUILTY, blamed=("calendar/sale@1",))))
    assert (ruling.act, ruling.excused) == ("hold", HARMED)


def test_nobody_to_blame_is_nothing_to_tell() -> None:
    assert rule(case(judged=Judged("nobody", "", (), 0, ()))).act == "none"


def test_a_retry_that_makes_the_same_tenant_ill_again_is_new_evidence_and_the_same_illness_is_not() -> None:
    ill = {"a": NOW + timedelta(hours=2), "b": NOW + timedelta(hours=2)}
    first = evidence_of(GUILTY, [*reached("rollout/r1", "ab"), *reached("rollout/r2", "ab", 1)], ill)
    assert [tenant for tenant, _ in first] == ["a", "b"]
    assert not rests_on_something_new(first[:1], [first])
    again = evidence_of(GUILTY, reached("rollout/r1", "ab") + reached("rollout/r1", "a", 1), ill)
    assert rests_on_something_new(again, [first])
    assert not rests_on_something_new(again, [first, again])


VERDICTS: tuple[Verdict, ...] = ("nobody", "unclear", "tied", "blamed")
ACCUSED = st.none() | st.builds(
    Accused,
    st.sampled_from(["r1", "r2"]),
    st.sampled_from(["deploy", "rollback", "values"]),
    st.sampled_from(["running", "paused", "rollingBack", "succeeded", "failed", "aborted"]),
    st.sampled_from(["", "blamed", "succeeded"]),
    st.booleans(),
    st.sampled_from(["stop", "show"]),
    st.none() | st.just(NOW),
)


@given(
    st.sampled_from(VERDICTS),
    st.sampled_from(["rollout/r1", "rollout/r2", "calendar/c@1", "tier/standard@2"]),
    ACCUSED,
    st.booleans(),
    st.booleans(),
    st.frozensets(st.sampled_from(["stop", "show"])),
)
def test_whatever_happened_only_a_clear_vote_excuses_and_only_a_running_rollout_that_may_be_stopped_is(
    verdict: Verdict, guilty: str, accused: Accused | None, goes_on: bool, fresh: bool, policies: frozenset[Any]
) -> None:
    blamed = (guilty,) if verdict == "blamed" else ()
    judged = Judged(verdict, "so it is", blamed, 2, (), HARMED if blamed else frozenset(), "it")
    ruling = rule(Case(judged, "r2", policies, accused, goes_on, fresh, NOW))
    if ruling.excused:
        assert verdict == "blamed"
        assert guilty != "rollout/r2"
        assert "show" not in policies
    if ruling.act == "stop":
        assert accused is not None
        assert (accused.policy, accused.emergency, accused.state in ("running", "paused", "rollingBack")) == (
            "stop",
            False,
            True,
        )
        assert accused.kind != "rollback"
        assert fresh


def test_evidence_is_the_last_time_that_a_blamed_change_reached_a_tenant_before_it_fell_ill() -> None:
    touches = [*reached("rollout/r1", "a", 0), *reached("rollout/r1", "a", 1), *reached("rollout/r1", "a", 3)]
    found = evidence_of(GUILTY, [*touches, Touch("rollout/r2", "other", "a", NOW)], {"a": NOW + timedelta(hours=2)})
    assert found == (("a", (NOW + timedelta(hours=1)).isoformat()),)
