"""Whether a gate that asks people may ask now: only when their yes would let something proceed. Pure.

An approver who is asked days before the wave can move either forgets, or says yes to what he has not seen. So a request goes out when all
that can be known without him is known, and until then the gate says what comes first.
"""

from __future__ import annotations

from controlplane.domain.engine import Memory
from controlplane.domain.gating import GateKey, Verdict
from controlplane.domain.rollouts import RolloutState, TargetState

_LEFT = frozenset({TargetState.SKIPPED, TargetState.CANCELLED, TargetState.DEFERRED})


def why_not_yet(memory: Memory, key: GateKey) -> str:
    """What must come before the gate's question; empty if it may be asked, as one that watches a wave always may."""
    rollout = memory.rollout
    if key.place == "during":
        return ""
    if rollout.state is RolloutState.PAUSED:
        return "the rollout is paused"
    if rollout.halted or rollout.abort:
        return "the rollout is ending"
    return _earlier_gate(memory, key) or _frozen(memory, key) or _closed(memory, key)


def _earlier_gate(memory: Memory, key: GateKey) -> str:
    """Gates at one place are asked in their order: what can be measured is cheaper than a person's attention."""
    mine = [k for k in sorted(memory.gates) if (k.wave, k.place) == (key.wave, key.place) and k.index < key.index]
    closed = next((gate for k in mine if (gate := memory.gates[k]).verdict is not Verdict.PASS), None)
    return f"the gate {closed.kind} before it does not pass ({closed.reason})" if closed is not None else ""


def _guarded(key: GateKey) -> int:
    """The wave that a yes lets go on: after a wave it is the next one."""
    return key.wave + (key.place == "after")


def _closed(memory: Memory, key: GateKey) -> str:
    """A window that a yes would let go on in, and that opens only later than tomorrow."""
    index = _guarded(key)
    return "" if memory.closed.opens_soon(index) else f"no window opens soon: {memory.closed.waves[index].reason}"


def _frozen(memory: Memory, key: GateKey) -> str:
    """A freeze of everything, or of every tenant that a yes would let go on."""
    frozen = memory.frozen
    if frozen.all_reason:
        return f"everything is frozen ({frozen.all_reason})"
    index = _guarded(key)
    if not frozen.tenants or index >= len(memory.waves):
        return ""
    waiting = [t for t in memory.waves[index].order if memory.targets[t].state not in _LEFT]
    return "every tenant of the wave is frozen" if waiting and frozen.tenants.issuperset(waiting) else ""
