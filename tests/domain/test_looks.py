"""Looks that may wait: a driver that passes them over until something else wakes it would have decided nothing by them."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from controlplane.domain.health import Health, Judgement
from controlplane.domain.progress import can_wait
from controlplane.domain.rollouts import TargetState
from tests.domain.test_disturbed_targets import DEADLINE, look, memory

REASONS = st.sampled_from(["", "web: 1 of 2 updated"])
JUDGEMENTS = st.builds(Judgement, st.sampled_from([Health.PROGRESSING, Health.UNKNOWN]), REASONS, st.booleans())


@given(judgement=JUDGEMENTS, seconds=st.integers(0, int(DEADLINE.total_seconds()) - 1))
def test_a_look_that_can_wait_moves_nothing_before_the_deadline(judgement: Judgement, seconds: int) -> None:
    known = memory(TargetState.VERIFY)
    before = next(iter(known.targets.values()))
    assume(can_wait(before, judgement))
    after, draft = look(known, judgement, after=timedelta(seconds=seconds))
    assert (after.state, after.code, after.reason, after.ill_since) == (before.state, "", "", None)
    assert draft.take().empty


def test_health_and_its_loss_never_wait() -> None:
    target = next(iter(memory(TargetState.VERIFY).targets.values()))
    assert can_wait(target, Judgement(Health.PROGRESSING))
    for one in (Judgement(Health.HEALTHY), Judgement(Health.UNHEALTHY), Judgement(Health.UNKNOWN)):
        assert not can_wait(target, one)
    assert not can_wait(target, Judgement(Health.PROGRESSING, quota_blocked=True))


def test_a_soaking_target_that_progresses_again_is_looked_at_at_once() -> None:
    target = next(iter(memory(TargetState.SOAK).targets.values()))
    assert not can_wait(target, Judgement(Health.PROGRESSING))
