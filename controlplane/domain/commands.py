"""What a command does to a rollout: a person's word, another rollout's, or that of a vote on blame."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.blame_acts import BLAMED
from controlplane.domain.draft import Draft
from controlplane.domain.engine import CommandSeen, TargetNow, WaveNow
from controlplane.domain.gating import GateJudged, Judged, Place, Verdict, opening
from controlplane.domain.progress import abort_forward, cancel_pending, yield_to
from controlplane.domain.progress_gates import send_back
from controlplane.domain.rollouts import TARGET_RETRYABLE, RolloutState, TargetState, WaveState

_R = RolloutState
_JUDGED = (WaveState.JUDGING, WaveState.DONE, WaveState.FAILED)
_PLACES: tuple[Place, ...] = ("before", "during", "after")


def take_command(draft: Draft, command: CommandSeen) -> set[int]:
    """Carry out one command; returns the waves it touched. One that no longer makes sense changes nothing."""
    match command.command:
        case "pause" if draft.rollout.state in (_R.PLANNED, _R.RUNNING):
            if draft.rollout.state is _R.PLANNED:
                # Given before the driver's first pass: it was answered, so it holds, and nothing of it has started.
                draft.move_rollout(_R.RUNNING, started_at=draft.now)
            draft.move_rollout(_R.PAUSED)
            draft.tell("paused", {"by": command.actor, "reason": str(command.body.get("reason", ""))})
        case "resume" if draft.rollout.state is _R.PAUSED:
            draft.move_rollout(_R.RUNNING)
            draft.tell("resumed", {"by": command.actor})
        case "abort":
            _abort(draft, command)
        case "supersede":
            _supersede(draft, command)
        case "preempt":
            return _preempt(draft, command)
        case "halt":
            return _halt(draft, command)
        case "retry":
            return _retry(draft, command)
    return set()


def _halt(draft: Draft, command: CommandSeen) -> set[int]:
    """A vote blames this rollout: nothing more starts, and the tenants it names go back. It ends a pause, as an abort does."""
    if draft.rollout.abort or draft.rollout.state not in (_R.RUNNING, _R.PAUSED):
        return set()
    reason, named = str(command.body.get("reason", "")), command.body.get("tenants")
    mine = [t for t in named if t in draft.memory.targets] if isinstance(named, list) else []
    draft.set_rollout(halted=BLAMED, reason=reason, hold=True)
    if draft.rollout.state is _R.PAUSED:
        draft.move_rollout(_R.RUNNING)
    for tenant in mine:
        send_back(draft, draft.target(tenant), reason, BLAMED)
    return {draft.target(tenant).wave for tenant in mine}


def _abort(draft: Draft, command: CommandSeen) -> None:
    """`finish`: what is in flight goes on; `rollBack`: it goes back. What has not started never does."""
    back = command.body.get("inFlight") == "rollBack"
    reason = str(command.body.get("reason", "") or f"aborted by {command.actor}")
    draft.set_rollout(abort="rollBack" if back else "finish", reason=reason)
    draft.tell("aborting", {"by": command.actor, "inFlight": draft.rollout.abort, "reason": reason})
    for wave in draft.waves():
        cancel_pending(draft, wave, "aborted", reason)
        if back:
            abort_forward(draft, draft.wave(wave.index))
    if back and draft.rollout.state in (_R.RUNNING, _R.PAUSED):
        draft.move_rollout(_R.ROLLING_BACK)
    elif draft.rollout.state is _R.PAUSED:
        # Aborting ends a pause: ways back of what fails meanwhile must be free to go.
        draft.move_rollout(_R.RUNNING)


def _supersede(draft: Draft, command: CommandSeen) -> None:
    by = str(command.body.get("rollout", "a newer rollout"))
    draft.set_rollout(abort="superseded", reason=f"superseded by {by}")
    for wave in draft.waves():
        cancel_pending(draft, wave, "superseded", f"superseded by {by}")
    draft.tell("superseded", {"by": by})
    if draft.rollout.state is _R.PAUSED:
        draft.move_rollout(_R.RUNNING)


def _preempt(draft: Draft, command: CommandSeen) -> set[int]:
    """An emergency wants some of the tenants: they yield now, or as soon as that interrupts nothing."""
    by, named = str(command.body.get("rollout", "")), command.body.get("tenants")
    mine = [t for t in named if t in draft.memory.targets] if isinstance(named, list) else []
    if not mine:
        return set()
    draft.tell("preempted", {"by": command.actor, "rollout": by, "tenants": mine})
    return {wave for tenant in mine if (wave := yield_to(draft, draft.target(tenant), by)) is not None}


def _retry(draft: Draft, command: CommandSeen) -> set[int]:
    """Start a new attempt with identical content for targets that failed, were skipped, deferred or cancelled."""
    if draft.rollout.abort:
        return set()
    named = command.body.get("tenants")
    wanted = set(named) if isinstance(named, list) else None
    touched: set[int] = set()
    for wave in draft.waves():
        for tenant in wave.order:
            target = draft.target(tenant)
            if target.state in TARGET_RETRYABLE and (wanted is None or tenant in wanted):
                _again(draft, target)
                touched.add(wave.index)
        if wave.index in touched:
            _reopen(draft, draft.wave(wave.index))
    if touched:
        draft.set_rollout(halted="", reason="", hold=False)
        said = {name: str(word) for name in ("reason", "acceptNoWayBack") if (word := command.body.get(name))}
        draft.tell("retried", {"by": command.actor, "waves": sorted(touched), **said})
    return touched


def _again(draft: Draft, target: TargetNow) -> None:
    fresh = replace(
        target,
        failed=False,
        code="",
        reason="",
        soak_since=None,
        samples=0,
        sampled_at=None,
        retry_at=None,
        yields_to="",
        waits_until=None,
    )
    draft.move(fresh, TargetState.PENDING, attempt=target.attempt + 1, base_revision=_runs(target))


def _runs(target: TargetNow) -> int:
    """The revision that a settled target runs: what it began with, unless it went back elsewhere or is stuck with ours."""
    if target.state is TargetState.ROLLED_BACK:
        return target.back_to
    stuck = target.state is TargetState.STUCK and target.revision is not None
    return target.revision if stuck and target.revision is not None else target.base_revision


def _reopen(draft: Draft, wave: WaveNow) -> None:
    """Let a judged wave run again, else its retried targets wait for ever. A gate that closed it is asked again, not passed over."""
    if wave.state not in _JUDGED:
        return
    for gate in (gate for place in _PLACES for gate in draft.gates(wave.index, place)):
        if opening((gate,), draft.now)[0] == "failed":
            draft.judge_gate(GateJudged(gate.key, Judged(Verdict.WAIT, "asked again after a retry")))
    closed = opening(draft.gates(wave.index, "before"), draft.now)[0] != "open"
    draft.move_wave(wave, WaveState.GATING if closed else WaveState.RUNNING, code="", reason="", cursor=0)
