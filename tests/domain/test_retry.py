"""A person's retry while the rollout still runs: whoever it names starts again, whatever became of its wave meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

from controlplane.domain.decide import decide
from controlplane.domain.engine import EffectDone, Looked, Phase
from controlplane.domain.gating import GateJudged, GateKey, Judged, Verdict
from controlplane.domain.rollouts import RolloutState, TargetState, WaveState
from tests.domain.test_engine_machine import HEALTH, EngineMachine


def begun(size: int = 7, **changes: Any) -> EngineMachine:
    """A rollout over waves of 1, 2, 4 with all its rows."""
    made = EngineMachine()
    usual = {"roll_back": "failed-targets", "then": "halt", "limit": 4, "failures": 0, "samples": 1}
    made.begin(size=size, without=set(), **{"gates": set(), **usual, **changes})
    return made


def all_goes_well(made: EngineMachine, times: int = 1, but: str = "") -> None:
    """Whatever is in hand comes back well and looks healthy, but for one."""
    for _ in range(times):
        back = {tenant: phase for tenant, phase in made.hands.items() if tenant != but}
        made.hands = {tenant: phase for tenant, phase in made.hands.items() if tenant == but}
        looks = [Looked(tenant, HEALTH["healthy"], live=True) for tenant in made.memory.targets if tenant != but]
        made.now += timedelta(seconds=2)
        made.tick([*(EffectDone(t, cast("Phase", phase), "ok") for t, phase in back.items()), *looks])


def until(made: EngineMachine, wave: int, state: WaveState, but: str = "") -> None:
    for _ in range(30):
        if made.memory.waves[wave].state is state:
            return
        all_goes_well(made, but=but)
    raise AssertionError(f"wave {wave} never became {state}: {made.memory.waves}")


def state_of(made: EngineMachine, wave: int) -> WaveState:
    return made.memory.waves[wave].state


def retry(made: EngineMachine, tenant: str) -> None:
    made.tick([made._command("retry", tenants=[tenant])])


def test_a_target_left_out_of_a_wave_that_passed_starts_again_and_the_rollout_ends() -> None:
    made = begun()
    left = made.memory.waves[1].order[0]
    made.rows[left] = replace(made.rows[left], phase="suspended")
    until(made, 2, WaveState.RUNNING)
    assert state_of(made, 1) is WaveState.DONE
    assert made.memory.targets[left].state is TargetState.DEFERRED
    made.rows[left] = replace(made.rows[left], phase="active")
    retry(made, left)
    assert state_of(made, 1) is WaveState.RUNNING
    all_goes_well(made, 30)
    assert {t.state for t in made.memory.targets.values()} == {TargetState.VERIFIED}
    assert made.memory.rollout.state is RolloutState.SUCCEEDED


def test_a_target_left_out_of_a_wave_that_waits_at_its_last_gate_starts_again() -> None:
    made = begun(gates={"after"})
    left = made.memory.waves[1].order[1]
    made.rows[left] = replace(made.rows[left], phase="suspended")
    until(made, 0, WaveState.JUDGING)
    made.tick([GateJudged(GateKey(0, "after", 0), Judged(Verdict.PASS, "yes"))])
    until(made, 1, WaveState.JUDGING)
    made.rows[left] = replace(made.rows[left], phase="active")
    retry(made, left)
    assert state_of(made, 1) is WaveState.RUNNING
    until(made, 1, WaveState.JUDGING)
    assert made.memory.targets[left].state is TargetState.VERIFIED


def test_a_retry_does_not_pass_over_the_gate_that_stopped_its_wave() -> None:
    made = begun(gates={"before"}, then="continue")
    made.tick([GateJudged(GateKey(0, "before", 0), Judged(Verdict.PASS, "yes"))])
    until(made, 1, WaveState.GATING)
    made.tick([GateJudged(GateKey(1, "before", 0), Judged(Verdict.FAIL, "no"))])
    assert state_of(made, 1) is WaveState.FAILED
    stopped = made.memory.waves[1].order[0]
    retry(made, stopped)
    assert state_of(made, 1) is WaveState.GATING
    assert made.memory.gates[GateKey(1, "before", 0)].verdict is Verdict.WAIT
    all_goes_well(made, 3)
    assert made.memory.targets[stopped].state is TargetState.PENDING
    made.tick([GateJudged(GateKey(1, "before", 0), Judged(Verdict.PASS, "now yes"))])
    until(made, 1, WaveState.DONE)
    assert made.memory.targets[stopped].state is TargetState.VERIFIED


def test_a_target_that_went_back_further_than_it_began_starts_from_where_it_went() -> None:
    made = begun(then="continue", failures=1)
    tenant = made.memory.waves[0].order[0]
    began = made.memory.targets[tenant].base_revision
    good = began - 1
    made.memory.targets[tenant] = replace(made.memory.targets[tenant], back_to=good)
    made.hands.pop(tenant)
    made.tick([EffectDone(tenant, made.memory.targets[tenant].phase, "failed", "rejected", "no")])
    all_goes_well(made, 2)
    assert made.memory.targets[tenant].state is TargetState.ROLLED_BACK
    assert made.rows[tenant].current == good
    retry(made, tenant)
    assert made.memory.targets[tenant].base_revision == good
    all_goes_well(made, 30)
    assert made.memory.targets[tenant].state is TargetState.VERIFIED


def test_why_it_was_retried_and_the_word_on_what_can_t_go_back_are_told() -> None:
    made = begun()
    left = made.memory.waves[1].order[0]
    made.rows[left] = replace(made.rows[left], phase="suspended")
    until(made, 2, WaveState.RUNNING)
    words = {"reason": "the node is back", "acceptNoWayBack": "the business signed"}
    draft = decide(made.memory, [made._command("retry", tenants=[left], **words)], made.now)
    (told,) = [event.data for event in draft.take().events if event.change == "retried"]
    assert {name: told[name] for name in words} == words


def test_a_retry_of_nobody_that_can_be_retried_changes_nothing() -> None:
    made = begun()
    states, targets = [wave.state for wave in made.memory.waves], dict(made.memory.targets)
    retry(made, "nobody")
    assert ([wave.state for wave in made.memory.waves], made.memory.targets) == (states, targets)
    assert made.memory.rollout.state is RolloutState.RUNNING
