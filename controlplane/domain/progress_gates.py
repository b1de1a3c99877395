"""What a gate's verdict does to the targets it speaks of."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.draft import Draft
from controlplane.domain.engine import TargetNow, WaveNow
from controlplane.domain.gating import GateJudged, GateNow, Verdict, refuses
from controlplane.domain.progress import fail, want_back
from controlplane.domain.rollouts import TARGET_FORWARD, TargetState, WaveState


def take_gate(draft: Draft, change: GateJudged) -> int:
    """A gate was judged. The tenants it blames go back at once, whatever the wave's limit says about their number.

    In a wave that has failed only a further `fail` counts, for those still in flight: what failed it stays on record.
    """
    if draft.wave(change.key.wave).state is WaveState.FAILED and change.judged.verdict is not Verdict.FAIL:
        return change.key.wave
    before = draft.memory.gates[change.key]
    gate = draft.judge_gate(change)
    if gate.verdict is Verdict.WAIT and gate.who and gate.who != before.who:
        _tell_asked(draft, gate)
    if change.judged.verdict is not Verdict.FAIL:
        return change.key.wave
    draft.tell("gate-failed", {"wave": draft.wave(change.key.wave).name, "gate": gate.kind, "reason": gate.reason})
    for tenant in change.judged.tenants:
        if tenant in draft.memory.targets:
            send_back(draft, draft.target(tenant), gate.reason)
    return change.key.wave


def take_gate_before(draft: Draft, change: GateJudged) -> int:
    """A gate before a single target was judged: who is refused leaves its wave, who waits says what for, who passes may start."""
    target = draft.target(change.key.tenant)
    if target.state is not TargetState.PENDING:
        return target.wave
    gate = draft.judge_gate_before(target, change)
    if refuses(gate, draft.now):
        reason = f"gate {gate.kind}: {gate.reason}"
        draft.move(target, TargetState.SKIPPED, event="target-skipped", code="gate-refused", reason=reason)
        return target.wave
    waits = gate.verdict is not Verdict.PASS
    if waits and (target.code, target.reason) != (gate.kind, gate.reason):
        draft.put(replace(target, code=gate.kind, reason=gate.reason, waiting_since=target.waiting_since or draft.now))
    elif not waits and target.code == gate.kind:
        draft.put(replace(target, code="", reason="", waiting_since=None))
    draft.scan_again(target)
    return target.wave


def _tell_asked(draft: Draft, gate: GateNow) -> None:
    """The gate asks somebody from now on; whoever listens to events hears of it once."""
    wave, plan = draft.wave(gate.key.wave).name, draft.memory.plan
    asked: dict[str, object] = {"wave": wave, "gate": gate.kind, "who": gate.who, "reason": gate.reason}
    draft.tell("gate-asked", {**asked, "changeRef": draft.memory.change_ref, "planHash": plan.plan_hash})


def send_back(draft: Draft, target: TargetNow, reason: str, code: str = "gate-failed") -> None:
    """Take back a target that was found bad, in flight or verified; work in the cluster's hands is left alone."""
    if target.state is TargetState.VERIFIED:
        want_back(draft, target, code, reason)
    elif target.state in TARGET_FORWARD and target.phase == "":
        fail(draft, target, code, reason)


def send_wave_back(draft: Draft, wave: WaveNow, reason: str) -> None:
    """Take a whole wave back, in flight or verified; work in the cluster's hands follows when it returns."""
    for tenant in wave.order:
        send_back(draft, draft.target(tenant), reason, "wave-gate-failed")
