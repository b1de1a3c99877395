"""A target that is disturbed holds, recovers, or goes back unblamed; a release's own fault is never excused by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from controlplane.domain.consequences import consequence_of
from controlplane.domain.decide import decide
from controlplane.domain.disturbance import ANOTHER_BLAMED, ASKING, Excuse
from controlplane.domain.draft import Draft
from controlplane.domain.engine import Looked, Memory, RolloutNow, TargetNow, WaveNow, tally_of
from controlplane.domain.health import Health, Judgement
from controlplane.domain.planner import plan
from controlplane.domain.progress import may_be_blamed
from controlplane.domain.rollouts import RolloutState, TargetState, WaveState
from tests.domain.fleet import NOW, fleet, inputs, strategy
from tests.domain.test_engine_machine import fresh_target

LOST = Excuse("zone-lost", "zone z0: 2 of 2 nodes are away")
ILL = Judgement(Health.UNHEALTHY, "web: 0 of 1 available")
SLOW = Judgement(Health.PROGRESSING, "web: 0 of 1 available")
WELL = Judgement(Health.HEALTHY)
DEADLINE, LIMIT = timedelta(minutes=5), timedelta(minutes=30)


def memory(state: TargetState, **changes: Any) -> Memory:
    """A rollout of three targets in one wave, the first of which is in this state."""
    success = {"progressDeadline": "PT5M", "disturbanceLimit": "PT30M", "maxFailures": 0}
    rules = strategy(
        {"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT1H"}}, limits={"inFlight": 3}, success=success
    )
    made = plan(inputs(fleet(3), rules))
    targets = [fresh_target(made, 0, position) for position in range(3)]
    targets[0] = replace(targets[0], state=state, since=NOW, revision=5, **changes)
    by_name = {t.tenant: t for t in targets}
    wave = WaveNow(0, "all", tuple(by_name), WaveState.RUNNING)
    return Memory("r1", made, RolloutNow(RolloutState.RUNNING, NOW), [tally_of(wave, targets)], by_name)


def look(
    known: Memory, judgement: Judgement, excuse: Excuse | None = None, after: timedelta = timedelta(minutes=1)
) -> tuple[TargetNow, Draft]:
    """The first target after a look at it, and the draft, adopted."""
    tenant = next(iter(known.targets))
    draft = decide(known, [Looked(tenant, judgement, True, excuse)], NOW + after)
    draft.adopt()
    return known.targets[tenant], draft


def soaking() -> Memory:
    return memory(TargetState.SOAK, soak_since=NOW, samples=1, sampled_at=NOW)


def test_ill_health_that_nodes_explain_holds_the_target_and_the_rollout_dispatches_nothing_more() -> None:
    for known in (soaking(), memory(TargetState.VERIFY)):
        target, draft = look(known, ILL, LOST)
        assert target.state in (TargetState.SOAK, TargetState.VERIFY)
        assert (target.code, target.reason, target.failed) == ("disturbed", LOST.reason, False)
        assert draft.forward == ()
        assert [e.change for e in draft.take().events] == ["target-disturbed"]


def test_without_an_excuse_it_fails_at_once_as_ever() -> None:
    target, _ = look(soaking(), ILL)
    assert target.state is not TargetState.SOAK
    assert target.failed


def test_a_target_that_is_late_is_held_too() -> None:
    target, _ = look(memory(TargetState.VERIFY), SLOW, LOST, after=DEADLINE)
    assert target.state is TargetState.VERIFY
    assert look(memory(TargetState.VERIFY), SLOW, after=DEADLINE)[0].failed


def test_after_the_disturbance_it_has_one_progress_deadline_to_recover() -> None:
    known = soaking()
    look(known, ILL, LOST)
    assert look(known, ILL, after=timedelta(minutes=5))[0].state is TargetState.SOAK
    assert look(known, ILL, after=timedelta(minutes=7))[0].failed


def test_one_that_recovers_soaks_afresh_and_nothing_is_held_against_it() -> None:
    known = soaking()
    look(known, ILL, LOST)
    target, draft = look(known, WELL, after=timedelta(minutes=3))
    assert (target.state, target.code, target.ill_since, target.excused_since) == (TargetState.SOAK, "", None, None)
    assert target.soak_since == NOW + timedelta(minutes=3)
    assert draft.forward != ()
    verifying = memory(TargetState.VERIFY)
    look(verifying, ILL, LOST)
    assert look(verifying, WELL, after=timedelta(minutes=3))[0].state is TargetState.SOAK


def test_while_it_is_asked_a_target_holds_but_gains_no_time_by_it() -> None:
    for known in (soaking(), memory(TargetState.VERIFY)):
        target, draft = look(known, ILL, ASKING)
        assert target.state in (TargetState.SOAK, TargetState.VERIFY)
        assert (target.code, draft.forward, draft.take().events) == ("", (), ())
        assert look(known, ILL, after=timedelta(minutes=1, seconds=1))[0].failed
    verifying = memory(TargetState.VERIFY)
    look(verifying, ILL, ASKING)
    target, _ = look(verifying, WELL, after=timedelta(minutes=2))
    assert (target.state, target.ill_since, verifying.waves[0].ill) == (TargetState.SOAK, None, 0)


def test_after_the_limit_it_goes_back_without_blame() -> None:
    known = soaking()
    for minutes in range(1, 31):
        assert look(known, ILL, LOST, after=timedelta(minutes=minutes))[0].state is TargetState.SOAK
    target, _ = look(known, ILL, LOST, after=timedelta(minutes=31))
    assert (target.state, target.code, target.failed) == (TargetState.FAILED, "disturbed", False)
    assert target.wants == "back"
    assert "longer than PT30M" in target.reason
    assert known.waves[0].failed == 0


def test_a_way_back_that_is_disturbed_waits_instead_of_being_stuck() -> None:
    known = memory(TargetState.ROLLING_BACK, failed=True, code="unhealthy", reason="crash loop")
    assert look(known, ILL, LOST)[0].state is TargetState.ROLLING_BACK
    back, _ = look(known, WELL, after=timedelta(minutes=2))
    assert (back.state, back.reason, back.ill_since) == (TargetState.ROLLED_BACK, "crash loop", None)
    assert known.waves[0].ill == 0
    assert look(memory(TargetState.ROLLING_BACK, failed=True), ILL)[0].state is TargetState.STUCK


def test_only_what_could_count_against_a_target_is_worth_a_question() -> None:
    known = memory(TargetState.VERIFY)
    verifying = next(iter(known.targets.values()))
    one = Looked("t", SLOW, live=True)
    assert not may_be_blamed(known.plan, verifying, one, NOW)
    assert may_be_blamed(known.plan, verifying, one, NOW + timedelta(minutes=4))
    assert may_be_blamed(known.plan, verifying, replace(one, judgement=ILL), NOW)
    assert may_be_blamed(known.plan, replace(verifying, state=TargetState.SOAK), one, NOW)
    assert not may_be_blamed(known.plan, verifying, replace(one, judgement=WELL), NOW + LIMIT)
    assert not may_be_blamed(known.plan, verifying, replace(one, judgement=ILL, live=False), NOW + LIMIT)


def test_a_target_that_another_change_is_blamed_for_leaves_its_slot_to_the_way_back_of_that_one() -> None:
    known = soaking()
    before = next(iter(known.targets.values()))
    target, _ = look(known, ILL, Excuse(ANOTHER_BLAMED, "sync is blamed"))
    assert (target.state, target.code, target.lent) == (TargetState.SOAK, "disturbed", True)
    assert consequence_of(before, target).free_slot
    again, _ = look(known, ILL, Excuse(ANOTHER_BLAMED, "sync is blamed"), timedelta(minutes=2))
    assert not consequence_of(target, again).free_slot
    well, _ = look(known, WELL, after=timedelta(minutes=3))
    assert (well.state, well.code, well.lent) == (TargetState.SOAK, "", True)


def test_once_the_guilty_one_has_gone_back_a_target_has_a_progress_deadline_to_recover_and_then_counts() -> None:
    known = soaking()
    look(known, ILL, Excuse(ANOTHER_BLAMED, "sync is blamed"))
    held, _ = look(known, ILL, None, timedelta(minutes=1) + DEADLINE - timedelta(seconds=1))
    assert (held.state, held.failed) == (TargetState.SOAK, False)
    gone, _ = look(known, ILL, None, timedelta(minutes=1) + DEADLINE)
    assert (gone.state, gone.failed, gone.wants) == (TargetState.FAILED, True, "back")
