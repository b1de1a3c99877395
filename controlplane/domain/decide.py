"""The engine's one decision: what happens next in a rollout, given what changed. Pure; the driver makes it true.

Numbered as a person would do it: (1) take the changes in, (2) judge the waves they touched, (3) start the next wave,
(4) choose who goes back, (5) choose who goes forward, (6) end the rollout when nothing is left to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from controlplane.domain.blame_acts import BLAMED
from controlplane.domain.commands import take_command
from controlplane.domain.decide_wave import judge_wave
from controlplane.domain.decide_windows import catch_up, kept_out, may_begin, take_time_up
from controlplane.domain.draft import Draft
from controlplane.domain.engine import (
    Change,
    CommandSeen,
    EffectDone,
    Explained,
    Faulty,
    Looked,
    Memory,
    TargetNow,
    TimeUp,
    WaveNow,
)
from controlplane.domain.gating import GateJudged, GateNow, Passage, Place, opening, passage
from controlplane.domain.progress import (
    blames_tenants,
    cancel_pending,
    cannot_go_on,
    take_effect,
    take_explanation,
    take_look,
    want_back,
)
from controlplane.domain.progress_gates import send_wave_back, take_gate, take_gate_before
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState, TargetState, WaveState

_HOLDS = ("too-many-failures", "gate-failed", BLAMED)
"""Failures that hold the release: they judged it."""
PASSED_OVER = 1000
"""Most targets of which one pass writes down what they wait for."""
BATCH = 64
"""Most targets that one transaction starts: bounds its size and the time budget rows stay locked."""


_BUSY = (WaveState.RUNNING, WaveState.SOAKING, WaveState.GATING, WaveState.JUDGING)


def decide(memory: Memory, changes: Iterable[Change], now: datetime) -> Draft:
    """Decide from a driver's memory, which is left as it is, and what changed since.

    The draft says what to write (`take`), who wants to start (`forward`, `onward`, in order) and when to look again.
    Costs what changed and what can start, never the number of targets. Raises `TransitionError` if a change asks for a
    state that the tables don't hold: a bug.
    """
    draft = Draft(memory, now)
    if draft.rollout.state in ROLLOUT_OVER:
        return draft
    _take_in(draft, changes)
    _start_if_due(draft)
    if draft.rollout.state is RolloutState.RUNNING and not (draft.rollout.halted or draft.rollout.abort):
        catch_up(draft)
    _halt_blamed(draft)
    _judge_waves(draft, draft.touched)
    _judge_rollout(draft)
    draft.touched.clear()
    _start_next_wave(draft)
    draft.onward = _choose_onward(draft)
    draft.forward = _choose_forward(draft)
    _end_if_done(draft)
    return draft


def _take_in(draft: Draft, changes: Iterable[Change]) -> None:
    """Step 1. Notes the waves whose tally may have moved."""
    for change in changes:
        match change:
            case CommandSeen():
                draft.touched |= take_command(draft, change)
            case EffectDone():
                draft.touched.add(take_effect(draft, change))
            case Looked():
                draft.touched.add(take_look(draft, change))
            case Explained():
                take_explanation(draft, change)
            case Faulty():
                draft.touched.add(cannot_go_on(draft, change.tenant, change.code, change.reason))
            case TimeUp():
                draft.touched.add(take_time_up(draft, change.tenant))
            case GateJudged(key) if key.tenant:
                draft.touched.add(take_gate_before(draft, change))
            case GateJudged():
                draft.touched.add(take_gate(draft, change))


def _start_if_due(draft: Draft) -> None:
    rollout = draft.rollout
    due = rollout.not_before is None or rollout.not_before <= draft.now
    if rollout.state is RolloutState.PLANNED and due:
        draft.move_rollout(RolloutState.RUNNING, started_at=draft.now)
        draft.tell("started", {"targets": draft.memory.plan.size})


def _judge_waves(draft: Draft, touched: set[int]) -> None:
    """Step 2. A wave that fails halts the rollout, or (`then: continue`) only itself."""
    for index in sorted(touched):
        wave = draft.wave(index)
        if wave.state is WaveState.GATING:
            _judge_gates(draft, wave, "before")
        if wave.state is WaveState.JUDGING:
            _judge_gates(draft, wave, "after")
        if wave.state not in (WaveState.RUNNING, WaveState.SOAKING):
            continue
        refused, gate = opening(draft.gates(index, "during"), draft.now)
        if refused == "failed" and gate is not None:
            _fail_at_gate(draft, wave, gate)
            continue
        verdict = judge_wave(wave.tally, draft.memory.plan.waves[index].success)
        if verdict.outcome == "succeeded":
            judging = draft.move_wave(wave, WaveState.JUDGING, code=verdict.code, reason=verdict.reason)
            _judge_gates(draft, judging, "after")
        elif verdict.outcome != "running":
            _fail_wave(draft, wave, verdict.code, verdict.reason)


def _judge_rollout(draft: Draft) -> None:
    """Halt a rollout that bears no more failures, over all waves, whatever each wave bears and `then` says."""
    limit = draft.memory.plan.max_failures
    failed = sum(wave.failed for wave in draft.waves())
    if limit is None or failed <= limit or draft.rollout.halted or draft.rollout.abort:
        return
    reason = f"{failed} targets failed over all waves, the rollout bears {limit}"
    draft.set_rollout(halted="too-many-failures", reason=reason, hold=True)
    for wave in draft.waves():
        if wave.state in _BUSY:
            _fail_wave(draft, wave, "too-many-failures", reason)
        cancel_pending(draft, wave, "halted", reason)


def _halt_blamed(draft: Draft) -> None:
    """End the waves of a rollout that a vote blames, whatever they bear and `then` says. Once: afterwards none is busy."""
    if draft.rollout.halted != BLAMED or draft.rollout.abort:
        return
    reason = draft.rollout.reason
    for wave in draft.waves():
        if wave.state in _BUSY:
            _fail_wave(draft, wave, BLAMED, reason)
        cancel_pending(draft, draft.wave(wave.index), "halted", reason)


def _judge_gates(draft: Draft, wave: WaveNow, place: Place) -> None:
    """A wave that waits at its gates: open all, one failed, or still waiting. Those of `during` must pass before it is done."""
    standing = draft.gates(wave.index, place)
    if place == "after" and _measurable(wave):
        standing = (*draft.gates(wave.index, "during"), *standing)
    state, gate = opening(standing, draft.now)
    if state == "failed" and gate is not None:
        _fail_at_gate(draft, wave, gate)
    elif state == "open" and place == "before":
        if draft.rollout.state is RolloutState.RUNNING and may_begin(draft, wave):
            _run_wave(draft, draft.wave(wave.index))
    elif state == "open":
        draft.move_wave(wave, WaveState.DONE)
        draft.tell("wave-passed", {"wave": wave.name, "reason": wave.reason})


def _fail_at_gate(draft: Draft, wave: WaveNow, gate: GateNow) -> None:
    """A gate said no. Unless it named the tenants to blame (they go back by themselves), the whole wave goes back."""
    if gate.key.place != "before" and not blames_tenants(draft, wave):
        send_wave_back(draft, wave, f"gate {gate.kind}: {gate.reason}")
    _fail_wave(draft, draft.wave(wave.index), "gate-failed", f"gate {gate.kind}: {gate.reason}")


def _run_wave(draft: Draft, wave: WaveNow) -> None:
    started = draft.move_wave(
        wave, WaveState.RUNNING, started_at=draft.now, code="", reason="", waiting_since=None, waits_until=None
    )
    draft.tell("wave-started", {"wave": wave.name, "targets": len(wave.order)})
    _judge_waves(draft, {started.index})


def _fail_wave(draft: Draft, wave: WaveNow, code: str, reason: str) -> None:
    draft.move_wave(wave, WaveState.FAILED, code=code, reason=reason)
    draft.tell("wave-failed", {"wave": wave.name, "code": code, "reason": reason})
    policy = draft.memory.plan.on_failure
    if policy.roll_back == "wave":
        _send_back(draft, (wave,))
    elif policy.roll_back == "rollout":
        _send_back(draft, tuple(draft.waves()))
    if policy.then == "halt" or draft.rollout.abort:
        draft.set_rollout(halted=code, reason=f"wave {wave.name}: {reason}", hold=code in _HOLDS)
        for one in draft.waves():
            cancel_pending(draft, one, "halted", f"wave {wave.name} failed")
    else:
        cancel_pending(draft, wave, "halted", reason)


def _send_back(draft: Draft, waves: tuple[WaveNow, ...]) -> None:
    """Mark what was verified in these waves for the way back; those in flight follow as they are verified."""
    for wave in waves:
        for tenant in wave.order:
            if draft.target(tenant).state is TargetState.VERIFIED:
                want_back(draft, draft.target(tenant), "policy", f"wave {wave.name} goes back as a whole")


def _start_next_wave(draft: Draft) -> None:
    """Step 3. Waves run one after the other; a failed one lets the next start only under `then: continue`."""
    if draft.rollout.state is not RolloutState.RUNNING or draft.rollout.halted or draft.rollout.abort:
        return
    for wave in draft.waves():
        if wave.state is WaveState.GATING:
            _judge_gates(draft, wave, "before")
        if draft.wave(wave.index).state in _BUSY:
            return
        if wave.state is WaveState.PENDING:
            if draft.gates(wave.index, "before"):
                draft.tell("wave-gating", {"wave": wave.name})
                _judge_gates(draft, draft.move_wave(wave, WaveState.GATING), "before")
            elif may_begin(draft, wave):
                _run_wave(draft, draft.wave(wave.index))
            else:
                return
            if draft.wave(wave.index).state in _BUSY:
                return


def _choose_onward(draft: Draft) -> tuple[str, ...]:
    """Step 4. Whoever wants its next work: ways back above all. Freezes don't stop them, a pause does."""
    if draft.rollout.state not in (RolloutState.RUNNING, RolloutState.ROLLING_BACK):
        return ()
    chosen: list[str] = []
    for tenant in draft.wanting():
        target = draft.target(tenant)
        if target.phase == "" and (target.retry_at is None or target.retry_at <= draft.now):
            chosen.append(tenant)
        if len(chosen) == BATCH:
            break
    return tuple(chosen)


def _choose_forward(draft: Draft) -> tuple[str, ...]:
    """Step 5. The running wave's pending targets in order, as many as have a free place; none while one is ill."""
    rollout = draft.rollout
    if rollout.state is not RolloutState.RUNNING or rollout.halted or rollout.abort or draft.memory.frozen.all_reason:
        return ()
    waves = [wave for wave in draft.waves() if wave.state is WaveState.RUNNING]
    if not waves or any(wave.ill for wave in draft.waves()):
        return ()
    if any(_unmeasured(draft, wave) for wave in waves) or draft.memory.closed.stale(draft.now):
        return ()
    free = min(BATCH, draft.memory.plan.limits.in_flight - draft.in_flight)
    chosen: list[str] = []
    draft.asking = free > 0
    for wave in waves:
        chosen += _pending(draft, wave, free - len(chosen))
    draft.scanned = (draft.memory.frozen, draft.memory.closed)
    return tuple(chosen)


def _unmeasured(draft: Draft, wave: WaveNow) -> bool:
    """Whether a gate of the wave does not pass (yet) what the wave has changed."""
    return _measurable(wave) and opening(draft.gates(wave.index, "during"), draft.now)[0] != "open"


def _measurable(wave: WaveNow) -> bool:
    """Whether anybody runs what the wave brings; before the first change, and once all went back, there is nothing to see."""
    return wave.moving + wave.verified > 0


def _pending(draft: Draft, wave: WaveNow, most: int) -> list[str]:
    """The next targets of a wave that may start. Frozen ones, and those whose window or own gate waits, are passed over.

    One that its gates have not answered yet counts as one that starts, so that nobody is asked before a place is free.
    """
    found: list[str] = []
    asked = written = 0
    start = max(wave.cursor, wave.scan if _scanned_as_it_is(draft) else 0)
    first_pending = first_ready = len(wave.order)
    for position in range(start, len(wave.order)):
        if len(found) + asked >= most or written == PASSED_OVER:
            first_pending, first_ready = min(first_pending, position), min(first_ready, position)
            break
        target = draft.target(wave.order[position])
        if target.state is not TargetState.PENDING:
            continue
        first_pending = min(first_pending, position)
        stands = _stands(draft, target)
        written += draft.target(target.tenant) is not target
        if stands != "waiting":
            first_ready = min(first_ready, position)
        asked += stands == "unasked"
        if stands == "open":
            found.append(target.tenant)
    if written == PASSED_OVER:
        draft.touched.add(wave.index)  # the next pass goes on from there, at once
    cursor = first_pending if start == wave.cursor else wave.cursor
    if (cursor, first_ready) != (wave.cursor, wave.scan):
        draft.skip_to(wave, cursor, first_ready)
    return found


def _scanned_as_it_is(draft: Draft) -> bool:
    """Whether freezes and windows are those that the waves' `scan` was noted under."""
    scanned, memory = draft.memory.scanned, draft.memory
    return scanned is not None and scanned[0] is memory.frozen and scanned[1] is memory.closed


def _stands(draft: Draft, target: TargetNow) -> Passage | Literal["later"]:
    """Where a pending target stands: `later` tries again by itself, `waiting` until something is heard."""
    if target.tenant in draft.memory.frozen.tenants:
        return "waiting"
    if kept_out(draft, target):
        return "waiting"
    if target.retry_at is not None and target.retry_at > draft.now:
        return "later"
    if not draft.memory.plan.waves[target.wave].before_each:
        return "open"
    return passage(draft.gates_before(target), draft.now)


def _end_if_done(draft: Draft) -> None:
    """Step 6. Over when nothing is in flight and no wave can start, even with stuck targets."""
    rollout = draft.rollout
    if rollout.state in (RolloutState.PLANNED, RolloutState.DRAFT) and not rollout.abort:
        return
    if draft.in_flight or any(wave.pending for wave in draft.waves()):
        return
    if rollout.abort:
        _end(draft, RolloutState.ABORTED, rollout.abort)
    elif rollout.state is RolloutState.PAUSED:
        return
    elif rollout.halted or any(wave.state is WaveState.FAILED for wave in draft.waves()):
        _end(draft, RolloutState.FAILED, rollout.halted or "wave-failed")
    elif all(wave.state is WaveState.DONE for wave in draft.waves()):
        _end(draft, RolloutState.SUCCEEDED, "succeeded")


def _end(draft: Draft, state: RolloutState, outcome: str) -> None:
    """End the rollout; deferred targets end with it as skipped, with their reason, and can be retried."""
    for wave in draft.waves():
        for tenant in wave.order if wave.left else ():
            if draft.target(tenant).state is TargetState.DEFERRED:
                draft.move(draft.target(tenant), TargetState.SKIPPED)
    draft.move_rollout(state, outcome=outcome, ended_at=draft.now)
    draft.tell(str(state), {"outcome": outcome, "reason": draft.rollout.reason})
