from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.blame import Signal, Touch, judge

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ABCD = ("a", "b", "c", "d")


def reached(change: str, tenants: Iterable[str], hours: float = 0) -> list[Touch]:
    return [Touch(change, change, tenant, NOW + timedelta(hours=hours)) for tenant in tenants]


def ill(tenants: Iterable[str], hours: float) -> list[Signal]:
    return [Signal(tenant, NOW + timedelta(hours=hours)) for tenant in tenants]


def test_of_two_that_overlap_the_one_whose_tenants_fell_ill_is_blamed() -> None:
    everybody = [f"t{n}" for n in range(20)]
    touches = reached("proxy", [*ABCD, *everybody]) + reached("odoo", ABCD)
    found = judge(touches, ill(ABCD, 0.1), ABCD)
    assert (found.verdict, found.blamed) == ("blamed", ("odoo",))
    assert found.reason == "odoo: 4 of the 4 tenants it reached fell ill after it."
    assert [v.change for v in found.votes] == ["odoo", "proxy"]


def test_a_change_of_the_cluster_that_explains_more_tenants_is_blamed_before_a_rollout_that_reached_a_few() -> None:
    cluster = [f"t{n}" for n in range(10)]
    touches = reached("cluster", cluster) + reached("odoo", cluster[:2])
    assert judge(touches, ill(cluster, 0.2), cluster).blamed == ("cluster",)


def test_who_was_ill_before_speaks_against_the_change() -> None:
    touches = reached("early", ABCD, hours=-2) + reached("late", ABCD, hours=1)
    found = judge(touches, [*ill(ABCD, 0.5), *ill(ABCD, 1.5)], ABCD)
    assert found.blamed == ("early",)
    late = next(v for v in found.votes if v.change == "late")
    assert late.score == 0
    assert late.windows[0].before > 0


def test_of_two_on_the_same_tenants_the_nearer_in_time_is_blamed() -> None:
    touches = reached("old", ABCD, hours=-6) + reached("new", ABCD)
    assert judge(touches, ill(ABCD, 0.1), ABCD).blamed == ("new",)


def test_two_that_are_as_likely_are_tied_and_a_person_is_asked() -> None:
    found = judge(reached("x", ABCD) + reached("y", ABCD, hours=0.05), ill(ABCD, 0.3), ABCD)
    assert (found.verdict, set(found.blamed)) == ("tied", {"x", "y"})
    assert "Hold them, and let a person find out" in found.reason


def test_nobody_is_blamed_without_evidence() -> None:
    assert judge(reached("x", ABCD), [], ABCD).verdict == "nobody"
    assert judge([], ill(ABCD, 1), ABCD).verdict == "nobody"
    assert judge(reached("x", ABCD), ill(["elsewhere"], 1), ABCD).verdict == "nobody"
    assert judge(reached("x", ABCD), ill(ABCD, -1), ABCD).blamed == ()
    assert judge(reached("x", ABCD), ill(ABCD, 73), ABCD).blamed == ()


def test_one_ill_tenant_is_too_little() -> None:
    found = judge(reached("x", ABCD), ill(["a"], 0.1), ABCD)
    assert (found.verdict, found.blamed, found.ill) == ("unclear", (), 1)


def test_a_vote_is_the_formula_and_a_tenant_counts_once() -> None:
    (vote,) = judge(reached("x", ABCD), ill(ABCD, 0) * 3, ABCD).votes
    assert [w.vote for w in vote.windows] == [pytest.approx(log(5), abs=1e-4)] * 3
    assert (vote.ill, vote.explains) == (4, 1.0)
    assert vote.score == pytest.approx(log(5), abs=1e-4)


HOURS = st.floats(-100, 100)
TOUCHES = st.lists(
    st.builds(lambda c, t, h: reached(c, [t], h)[0], st.sampled_from("xyz"), st.sampled_from("abcd"), HOURS)
)
SIGNALS = st.lists(st.builds(lambda t, h: ill([t], h)[0], st.sampled_from("abcd"), HOURS))


@given(TOUCHES, SIGNALS)
def test_whatever_happened_blame_needs_two_tenants_that_fell_ill_after_and_order_means_nothing(
    touches: list[Touch], signals: list[Signal]
) -> None:
    found = judge(touches, signals, ABCD)
    assert found == judge(touches[::-1], signals[::-1], ABCD)
    for vote in found.votes:
        assert vote.score >= 0
    if found.blamed:
        assert found.votes[0].ill >= 2
        assert len(found.blamed) == 1 or found.verdict == "tied"


def test_the_tenants_that_the_guilty_change_harmed_are_named_and_others_are_not() -> None:
    everybody = [f"t{n}" for n in range(20)]
    touches = reached("proxy", everybody) + reached("odoo", ABCD)
    found = judge(touches, ill([*ABCD, "t0"], 0.1), [*ABCD, "t0"])
    assert (found.blamed, found.what, found.harmed) == (("odoo",), "odoo", frozenset(ABCD))
    assert judge(touches, ill(["a"], 0.1), ABCD).harmed == frozenset()


@given(TOUCHES, SIGNALS, st.lists(st.floats(-100, 100), min_size=1, max_size=5))
def test_a_change_that_reached_none_of_the_tenants_in_question_shifts_nothing(
    touches: list[Touch], signals: list[Signal], hours: list[float]
) -> None:
    elsewhere = [
        one for n, h in enumerate(hours) for one in (*reached("other", [f"z{n}"], h), *reached("wide", [f"z{n}"]))
    ]
    sick = ill([f"z{n}" for n in range(len(hours))], 1)
    assert judge([*touches, *elsewhere], [*signals, *sick], ABCD) == judge(touches, signals, ABCD)


@given(TOUCHES, SIGNALS)
def test_only_ill_tenants_that_the_blamed_change_reached_before_are_harmed(
    touches: list[Touch], signals: list[Signal]
) -> None:
    found = judge(touches, signals, ABCD)
    assert bool(found.harmed) == (found.verdict == "blamed")
    for tenant in found.harmed:
        first = min(t.at for t in touches if t.change == found.blamed[0] and t.tenant == tenant)
        assert any(s.tenant == tenant and s.at >= first for s in signals)
