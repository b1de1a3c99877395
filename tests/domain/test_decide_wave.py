from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.decide_wave import WaveTally, judge_soak, judge_wave, needed, progress_due_at
from controlplane.domain.plans import ResolvedSuccess
from controlplane.domain.strategies import Soak

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def rule(least: int, bears: int = 0, percent: str | None = None) -> ResolvedSuccess:
    return ResolvedSuccess(min=least, min_percent=percent, max_failures=bears, progress_deadline=timedelta(minutes=15))


@pytest.mark.parametrize(
    ("tally", "success", "outcome", "code"),
    [
        (WaveTally(4, pending=4), rule(4), "running", "running"),
        (WaveTally(4, verified=3, moving=1), rule(3), "running", "running"),
        (WaveTally(4, verified=4), rule(4), "succeeded", "succeeded"),
        (WaveTally(4, verified=3, failed=1), rule(3, 1), "succeeded", "succeeded"),
        (WaveTally(4, verified=3, failed=1), rule(3, 0), "failed", "too-many-failures"),
        (WaveTally(4, verified=1, failed=1, pending=2), rule(4, 1), "failed", "too-few-verified"),
        (WaveTally(1, failed=1), rule(1, 1), "failed", "too-few-verified"),
        (WaveTally(6, verified=3, failed=3), rule(5, 1), "failed", "too-many-failures"),
        (WaveTally(4, left=4), rule(4), "unproven", "nothing-verified"),
        (WaveTally(4, verified=3, left=1), rule(4), "succeeded", "succeeded"),
        (WaveTally(10, verified=4, left=6), rule(5), "succeeded", "succeeded"),
    ],
)
def test_a_wave_is_judged_by_verified_targets_not_by_having_nothing_left_to_do(
    tally: WaveTally, success: ResolvedSuccess, outcome: str, code: str
) -> None:
    found = judge_wave(tally, success)
    assert (found.outcome, found.code) == (outcome, code)
    assert found.reason


def test_a_percent_is_taken_again_of_the_targets_that_stayed() -> None:
    assert needed(rule(95, percent="95%"), size=100, left=90) == 9
    assert needed(rule(95), size=100, left=90) == 10
    assert needed(rule(95, percent="95%"), size=100, left=100) == 1


def test_a_tally_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="add up"):
        WaveTally(4, verified=3)


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 30), st.data())
def test_no_wave_succeeds_without_a_verified_target_or_with_more_failures_than_it_bears(
    size: int, least: int, bears: int, data: st.DataObject
) -> None:
    parts = [0, 0, 0, 0, 0]
    for _ in range(size):
        parts[data.draw(st.integers(0, 4))] += 1
    pending, moving, verified, failed, left = parts
    tally = WaveTally(size, pending, moving, verified, failed, left)
    found = judge_wave(tally, rule(max(1, least), bears))
    if found.outcome == "succeeded":
        assert verified >= 1
        assert failed <= bears
        assert pending + moving == 0
    if found.outcome == "running":
        assert pending + moving > 0


def test_a_soak_needs_time_and_samples() -> None:
    soak = Soak.model_validate({"for": "PT10M", "samples": 5})
    assert not judge_soak(soak, since=NOW, samples=5, now=NOW + timedelta(minutes=9)).done
    late = judge_soak(soak, since=NOW, samples=4, now=NOW + timedelta(hours=9))
    assert (late.done, late.samples_left, late.time_left) == (False, 1, timedelta(0))
    assert judge_soak(soak, since=NOW, samples=5, now=NOW + timedelta(minutes=10)).done


def test_a_soak_says_when_its_time_is_up() -> None:
    soak = Soak.model_validate({"for": "PT10M"})
    assert judge_soak(soak, since=NOW, samples=0, now=NOW - timedelta(hours=1)).due_at == NOW + timedelta(minutes=10)


def test_progress_is_due_a_deadline_after_the_last_one() -> None:
    assert progress_due_at(NOW, rule(1)) == NOW + timedelta(minutes=15)
