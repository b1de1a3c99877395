"""The failure limit of a whole rollout."""

from __future__ import annotations

from typing import Any

from controlplane.domain.decide import decide
from controlplane.domain.engine import EffectDone, Memory, RolloutNow, TargetNow, WaveNow, tally_of
from controlplane.domain.planner import plan
from controlplane.domain.progress import granted
from controlplane.domain.rollouts import RolloutState, TargetState, WaveState
from tests.domain.fleet import NOW, fleet, inputs, strategy
from tests.domain.test_engine_machine import fresh_target

WAVES = [
    {"name": "one", "cut": {"count": 3}, "soak": {"for": "PT0S", "samples": 1}},
    {"name": "two", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}},
]


def running(**policy: Any) -> Memory:
    """Six targets in two waves that bear anything by themselves, all of the first wave at work."""
    rules = strategy(
        *WAVES,
        limits={"inFlight": 6},
        success={"min": 1, "maxFailures": "100%"},
        onFailure={"then": "continue", **policy},
    )
    made = plan(inputs(fleet(6), rules))
    targets = [fresh_target(made, w, p) for w, wave in enumerate(made.waves) for p in range(len(wave.targets))]
    targets = [at_work(t) if t.wave == 0 else t for t in targets]
    by_name = {t.tenant: t for t in targets}
    waves = [
        WaveNow(n, wave.name, tuple(t.tenant for t in wave.targets), WaveState.RUNNING if n == 0 else WaveState.PENDING)
        for n, wave in enumerate(made.waves)
    ]
    tallied = [tally_of(wave, (by_name[t] for t in wave.order)) for wave in waves]
    return Memory("r1", made, RolloutNow(RolloutState.RUNNING, NOW), tallied, by_name)


def at_work(target: TargetNow) -> TargetNow:
    return granted(target, epoch=2, revision=5, migrates=False, prunes=False, now=NOW)


def failing(known: Memory, count: int) -> None:
    """So many targets of the first wave fail."""
    for tenant in known.waves[0].order[:count]:
        decide(known, [EffectDone(tenant, "apply", "failed", "rejected", "no")], NOW).adopt()


def test_a_rollout_halts_when_it_bears_no_more_failures_though_each_wave_would() -> None:
    known = running(maxFailures=1)
    assert known.plan.max_failures == 1
    failing(known, 2)
    assert known.rollout.halted == "too-many-failures"
    assert known.rollout.reason == "2 targets failed over all waves, the rollout bears 1"
    assert known.rollout.hold
    assert known.waves[0].state is WaveState.FAILED
    second = [known.targets[t].state for t in known.waves[1].order]
    assert set(second) == {TargetState.CANCELLED}


def test_without_such_a_limit_the_waves_own_limits_are_all() -> None:
    known = running()
    failing(known, 2)
    assert known.rollout.halted == ""
    assert known.waves[0].state is WaveState.RUNNING


def test_a_percent_is_of_the_plan_and_rounded_up() -> None:
    assert running(maxFailures="20%").plan.max_failures == 2


def test_a_failure_that_is_not_the_releases_does_not_count() -> None:
    known = running(maxFailures=0)
    decide(known, [EffectDone(known.waves[0].order[0], "apply", "quota", "quota-exceeded", "full")], NOW).adopt()
    assert known.rollout.halted == ""
