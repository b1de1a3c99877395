"""What closed windows do to a rollout's decision: who is written down, what it costs, who is deferred and catches up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from controlplane.domain.counts import Counts
from controlplane.domain.decide import PASSED_OVER, decide
from controlplane.domain.engine import Memory, RolloutNow, TargetNow, TimeUp, WaveNow, tally_of
from controlplane.domain.planner import plan
from controlplane.domain.rollouts import RolloutState, TargetState, WaveState
from controlplane.domain.windows import Closed, Opening

from .fleet import NOW, fleet, inputs, strategy
from .test_engine_machine import fresh_target

LATER = NOW + timedelta(days=3)
SHUT = Opening(open=False, until=LATER, reason="opens Fri 08:00 UTC")


def memory(size: int, *, shut: int, wave: WaveState = WaveState.RUNNING, **windows: Any) -> Memory:
    """A running wave of `size` whose first `shut` targets have closed windows."""
    rules = strategy(
        {"name": "all", "cut": {"percent": "100%"}},
        limits={"inFlight": 5},
        windows={"wait": "P2D", **windows},
    )
    made = plan(inputs(fleet(size), rules))
    targets = {t.tenant: fresh_target(made, 0, n) for n, t in enumerate(made.waves[0].targets)}
    order = tuple(targets)
    running = tally_of(WaveNow(0, "all", order, wave, started_at=NOW), targets.values())
    closed = Closed(dict.fromkeys(order[:shut], 0), {(0, 0): SHUT}, until=LATER)
    begun = RolloutNow(RolloutState.RUNNING, NOW)
    return Memory("r", made, begun, [running], targets, closed=closed)


def deferred(target: TargetNow) -> TargetNow:
    return replace(target, state=TargetState.DEFERRED, code="window", reason="closed", waiting_since=NOW)


def test_who_waits_is_written_down_once_some_in_each_pass_and_never_gone_over_again() -> None:
    known = memory(2 * PASSED_OVER + 10, shut=2 * PASSED_OVER)
    written = []
    for _ in range(4):
        draft = decide(known, (), NOW)
        written.append(len(draft.take().targets))
        draft.adopt()
    assert written == [PASSED_OVER, PASSED_OVER, 0, 0]
    assert known.waves[0].scan == 2 * PASSED_OVER
    assert draft.forward == known.waves[0].order[2 * PASSED_OVER : 2 * PASSED_OVER + 5]
    first = known.targets[known.waves[0].order[0]]
    assert (first.code, first.reason, first.waits_until) == ("window", SHUT.reason, LATER)
    assert not first.in_flight


def test_a_straggler_is_deferred_when_its_wave_has_waited_long_enough_or_held_for_ever() -> None:
    for then, state in (("defer", TargetState.DEFERRED), ("hold", TargetState.PENDING)):
        known = memory(2, shut=1, then=then)
        tenant = known.waves[0].order[0]
        decide(known, (), NOW).adopt()
        early = decide(known, [TimeUp(tenant)], NOW + timedelta(days=1))
        assert early.target(tenant).state is TargetState.PENDING
        late = decide(known, [TimeUp(tenant)], NOW + timedelta(days=2))
        assert late.target(tenant).state is state


def test_a_boundary_that_has_passed_lets_nobody_start_until_windows_are_looked_at_again() -> None:
    known = memory(2, shut=1)
    assert decide(known, (), NOW).forward == (known.waves[0].order[1],)
    assert decide(known, (), LATER).forward == ()


def test_a_wave_that_passed_opens_again_for_who_catches_up() -> None:
    known = memory(2, shut=1, wave=WaveState.DONE)
    waits, passed = known.waves[0].order
    known.targets[waits] = deferred(known.targets[waits])
    known.targets[passed] = replace(known.targets[passed], state=TargetState.VERIFIED)
    known.waves[0] = tally_of(known.waves[0], known.targets.values())
    known.counts = Counts(known.targets.values())
    known.catch_up = {waits: None}
    known.rollout = replace(known.rollout, state=RolloutState.PAUSED)
    assert decide(known, (), NOW).target(waits).state is TargetState.DEFERRED
    known.rollout, known.closed = replace(known.rollout, state=RolloutState.RUNNING), Closed()
    draft = decide(known, (), NOW)
    assert draft.target(waits).state is TargetState.PENDING
    assert draft.wave(0).state is WaveState.RUNNING
    assert draft.forward == (waits,)
    draft.adopt()
    assert known.catch_up == {}


def test_a_wave_that_may_not_begin_says_why_and_leaves_its_targets_after_the_wait() -> None:
    known = memory(2, shut=2, wave=WaveState.PENDING)
    known.closed = replace(known.closed, waves={0: SHUT})
    draft = decide(known, (), NOW)
    assert (draft.wave(0).state, draft.wave(0).code, draft.wave(0).reason) == (WaveState.PENDING, "window", SHUT.reason)
    draft.adopt()
    assert decide(known, (), NOW + timedelta(days=1)).wave(0).state is WaveState.PENDING
    late = decide(known, (), NOW + timedelta(days=2))
    assert (late.wave(0).state, late.wave(0).code) == (WaveState.FAILED, "nothing-verified")
    assert {late.target(t).state for t in known.targets} <= {TargetState.DEFERRED, TargetState.SKIPPED}
