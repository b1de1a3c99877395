"""The progress deadline: who comes further, however slowly, has not failed; who only comes and goes has."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from controlplane.domain.decide import decide
from controlplane.domain.engine import EffectDone, Looked, Memory, TargetNow
from controlplane.domain.health import Expected, Health, Judgement
from controlplane.domain.rollouts import TargetState
from tests.domain.fleet import NOW
from tests.domain.test_disturbed_targets import memory

STEP = timedelta(minutes=4)
"""A little less than the deadline, five minutes."""
DEADLINE = timedelta(minutes=5)


def looked(known: Memory, progress: int, after: timedelta) -> TargetNow:
    """The first target after a look that finds it so far."""
    tenant = next(iter(known.targets))
    draft = decide(
        known, [Looked(tenant, Judgement(Health.PROGRESSING, "on its way", progress=progress), True)], NOW + after
    )
    draft.adopt()
    return known.targets[tenant]


def test_a_target_whose_pods_become_new_one_after_the_other_has_time_as_long_as_they_do() -> None:
    known = memory(TargetState.VERIFY)
    for number in range(1, 20):
        assert looked(known, number, STEP * number).state is TargetState.VERIFY
    last = STEP * 19
    assert looked(known, 19, last + DEADLINE - timedelta(seconds=1)).state is TargetState.VERIFY
    late = looked(known, 19, last + DEADLINE)
    assert (late.code, late.failed) == ("no-progress", True)


def test_pods_that_come_and_go_are_no_progress() -> None:
    known = memory(TargetState.VERIFY)
    for number in range(10):
        looked(known, 3 - number % 2, timedelta(seconds=30 * number))
    late = looked(known, 3, DEADLINE)
    assert (late.code, late.failed) == ("no-progress", True)


def test_the_driver_is_called_again_when_the_time_since_the_last_progress_is_over() -> None:
    known = memory(TargetState.VERIFY)
    tenant = next(iter(known.targets))
    draft = decide(known, [Looked(tenant, Judgement(Health.PROGRESSING, "on its way", progress=1), True)], NOW + STEP)
    assert (NOW + STEP + DEADLINE, tenant) in draft.timers()


def test_a_way_back_has_time_as_long_as_it_comes_further() -> None:
    known = memory(TargetState.ROLLING_BACK, code="unhealthy", reason="it broke", failed=True)
    for number in range(1, 5):
        assert looked(known, number, STEP * number).state is TargetState.ROLLING_BACK
    assert looked(known, 4, STEP * 4 + DEADLINE).state is TargetState.STUCK


def test_each_apply_begins_from_nothing() -> None:
    known = memory(TargetState.APPLY, phase="apply", progress=7, progressed_at=NOW - STEP)
    tenant = next(iter(known.targets))
    expected = (Expected("Deployment", "web", "u1", 2),)
    draft = decide(known, [EffectDone(tenant, "apply", "ok", expected=expected)], NOW + STEP)
    draft.adopt()
    verifying = known.targets[tenant]
    assert (verifying.state, verifying.progress, verifying.progressed_at) == (TargetState.VERIFY, 0, None)
    assert looked(known, 1, STEP * 2).progressed_at == NOW + STEP * 2


def test_a_successor_that_does_not_know_how_far_it_came_takes_what_it_sees_first_for_progress() -> None:
    known = memory(TargetState.VERIFY)
    tenant = next(iter(known.targets))
    known.targets[tenant] = replace(known.targets[tenant], since=NOW - DEADLINE * 3)
    assert looked(known, 4, timedelta()).state is TargetState.VERIFY
    assert looked(known, 4, DEADLINE).failed
