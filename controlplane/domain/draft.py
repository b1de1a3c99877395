"""A decision in the making: an overlay on a driver's memory, through whose one door every state passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from controlplane.domain.counts import GroupCount
from controlplane.domain.engine import CATCHES_UP, Decision, Event, Memory, RolloutNow, TargetNow, WaveNow
from controlplane.domain.gating import GateJudged, GateKey, GateNow, Place, after_judging, gates_of_target
from controlplane.domain.rollouts import (
    ROLLOUT_TRANSITIONS,
    TARGET_SETTLED,
    TARGET_TRANSITIONS,
    WAVE_TRANSITIONS,
    RolloutState,
    TargetState,
    WaveState,
    check_transition,
)


class Draft:
    """Collects changes over an untouched memory."""

    def __init__(self, memory: Memory, now: datetime) -> None:
        self.memory = memory
        self.now = now
        self._targets: dict[str, TargetNow] = {}
        self._waves: dict[int, WaveNow] = {}
        self._rollout: RolloutNow | None = None
        self._events: list[Event] = []
        self._timers: list[tuple[datetime, str]] = []
        self._wanting: dict[str, bool] = {}
        self._gates: dict[GateKey, GateNow] = {}
        self._judged: list[tuple[GateNow, GateJudged]] = []
        self._at_gates: dict[str, tuple[GateNow, ...]] = {}
        self._moved_waves: set[int] = set()
        self._before: dict[str, TargetNow] = {}
        self._taken_rollout: RolloutNow | None = None
        self.touched: set[int] = set(memory.touched)
        self.asking = False
        self.scanned = memory.scanned
        self.caught_up = memory.caught_up
        self.forward: tuple[str, ...] = ()
        self.onward: tuple[str, ...] = ()

    @property
    def rollout(self) -> RolloutNow:
        """The rollout as it will be."""
        return self._rollout or self.memory.rollout

    def target(self, tenant: str) -> TargetNow:
        """A target as it will be."""
        return self._targets.get(tenant) or self.memory.targets[tenant]

    def wave(self, index: int) -> WaveNow:
        """A wave as it will be."""
        return self._waves.get(index) or self.memory.waves[index]

    def waves(self) -> Iterator[WaveNow]:
        """All waves in order."""
        return (self.wave(index) for index in range(len(self.memory.waves)))

    def gates(self, wave: int, place: Place) -> tuple[GateNow, ...]:
        """The gates at a place of a wave, as they will be, in order."""
        keys = sorted(key for key in self.memory.gates if key.wave == wave and key.place == place)
        return tuple(self._gates.get(key) or self.memory.gates[key] for key in keys)

    def judge_gate(self, change: GateJudged) -> GateNow:
        """Take a gate's verdict in."""
        old = self._gates.get(change.key) or self.memory.gates[change.key]
        new = after_judging(old, change.judged, self.now)
        self._gates[change.key] = new
        self._judged.append((new, change))
        return new

    def gates_before(self, target: TargetNow) -> tuple[GateNow, ...]:
        """The gates a pending target stands before, with what they said to it; it stands there from now on."""
        known = self._at_gates.get(target.tenant) or self.memory.at_gates.get(target.tenant)
        if known is None:
            known = self._at_gates[target.tenant] = gates_of_target(self.memory.plan, target.wave, target.tenant)
        return known

    def judge_gate_before(self, target: TargetNow, change: GateJudged) -> GateNow:
        """Take in what a gate said to one target; written only when that is new."""
        gates = self.gates_before(target)
        old = gates[change.key.index]
        new = after_judging(old, change.judged, self.now)
        self._at_gates[target.tenant] = (*gates[: change.key.index], new, *gates[change.key.index + 1 :])
        if old.since is None or (old.verdict, old.reason) != (new.verdict, new.reason):
            self._judged.append((new, change))
        return new

    def wanting(self) -> Iterator[str]:
        """Tenants whose next external work is not issued yet, in the order they began to want it."""
        yield from (tenant for tenant in self.memory.wanting if self._wanting.get(tenant, True))
        yield from (tenant for tenant, wants in self._wanting.items() if wants and tenant not in self.memory.wanting)

    @property
    def in_flight(self) -> int:
        """Targets in flight, all waves."""
        return sum(wave.in_flight for wave in self.waves())

    def put(self, target: TargetNow) -> TargetNow:
        """Replace a target without a change of state."""
        old = self.target(target.tenant)
        self._before.setdefault(target.tenant, old)
        self._waves[target.wave] = self.wave(target.wave).exchange(old, target)
        self._targets[target.tenant] = target
        if old.wants != target.wants:
            self._wanting[target.tenant] = target.wants != ""
        return target

    def remember(self, target: TargetNow) -> TargetNow:
        """Replace a target in memory alone: what a successor finds out again needs no write. Its tally must not move."""
        self._targets[target.tenant] = target
        if target.tenant in self._before:
            return self.put(target)
        return target

    def move(self, target: TargetNow, to: TargetState, *, event: str = "", **changes: Any) -> TargetNow:
        """Change a target's state through the table; `event` names the line of history, if one is due."""
        check_transition(TARGET_TRANSITIONS, target.state, to)
        ended = self.now if to in TARGET_SETTLED else None
        moved = self.put(replace(target, **{"state": to, "since": self.now, "ended_at": ended, **changes}))
        if event:
            data: dict[str, object] = {
                "state": str(to),
                "code": moved.code,
                "reason": moved.reason,
                "wave": self.wave(moved.wave).name,
                "blamed": moved.failed,
            }
            self.tell(event, data, tenant=moved.tenant)
        return moved

    def move_wave(self, wave: WaveNow, to: WaveState, **changes: Any) -> WaveNow:
        """Change a wave's state through the table."""
        check_transition(WAVE_TRANSITIONS, wave.state, to)
        moved = replace(wave, **{"state": to, "since": self.now, **changes})
        self._waves[wave.index] = moved
        self._moved_waves.add(wave.index)
        return moved

    def note_wave(self, wave: WaveNow, **changes: Any) -> WaveNow:
        """Write down why a wave has not begun, without a change of state."""
        noted = replace(wave, **changes)
        self._waves[wave.index] = noted
        self._moved_waves.add(wave.index)
        return noted

    def skip_to(self, wave: WaveNow, cursor: int, scan: int) -> None:
        """Note that no target before `cursor` is pending, and none before `scan` can start; memos that cost no write."""
        self._waves[wave.index] = replace(self.wave(wave.index), cursor=cursor, scan=scan)

    def scan_again(self, target: TargetNow) -> None:
        """Note that a pending target may be able to start now."""
        wave = self.wave(target.wave)
        self._waves[wave.index] = replace(wave, scan=min(wave.scan, target.position))

    def move_rollout(self, to: RolloutState, **changes: Any) -> RolloutNow:
        """Change the rollout's state through the table."""
        check_transition(ROLLOUT_TRANSITIONS, self.rollout.state, to)
        self._rollout = replace(self.rollout, **{"state": to, "since": self.now, **changes})
        return self._rollout

    def set_rollout(self, **changes: Any) -> RolloutNow:
        """Replace fields of the rollout, not its state."""
        self._rollout = replace(self.rollout, **changes)
        return self._rollout

    def tell(self, change: str, data: dict[str, object], *, tenant: str | None = None) -> None:
        """Add a line of history."""
        self._events.append(Event(change, tenant, data))

    def look_at(self, when: datetime, tenant: str) -> None:
        """Ask to be called again for a target."""
        self._timers.append((when, tenant))

    def take(self) -> Decision:
        """What changed since the last `take`: to be written next. The overlay itself stays until the draft is adopted."""
        decision = Decision(
            targets={tenant: (old, self._targets[tenant]) for tenant, old in self._before.items()},
            waves={index: self._waves[index] for index in sorted(self._moved_waves)},
            rollout=self._rollout if self._rollout is not self._taken_rollout else None,
            events=tuple(self._events),
            gates=tuple(self._judged),
        )
        self._before, self._moved_waves, self._events, self._judged = {}, set(), [], []
        self._taken_rollout = self._rollout
        return decision

    def timers(self) -> tuple[tuple[datetime, str], ...]:
        """When to look again, and at whom."""
        return tuple(self._timers)

    def counts(self) -> Mapping[int, list[GroupCount]]:
        """How many targets stand where, as they will be, in each wave where that changes."""
        mine, before = self._targets, self.memory.targets
        changes = [(before[t], new) for t, new in mine.items() if _shown(before[t]) != _shown(new)]
        return self.memory.counts.after(changes) if changes else {}

    def adopt(self) -> None:
        """Make the overlay the memory's truth: only after the commit is known."""
        memory = self.memory
        for tenant, target in self._targets.items():
            memory.counts.move(memory.targets[tenant], target)
        memory.targets.update(self._targets)
        memory.gates.update(self._gates)
        memory.at_gates.update(self._at_gates)
        memory.asking = self.asking
        memory.scanned = self.scanned
        memory.caught_up = self.caught_up
        for index, wave in self._waves.items():
            memory.waves[index] = wave
        if self._rollout is not None:
            memory.rollout = self._rollout
        for tenant, target in self._targets.items():
            if target.wants:
                memory.wanting[tenant] = None
            else:
                memory.wanting.pop(tenant, None)
            if target.state is not TargetState.PENDING:
                memory.at_gates.pop(tenant, None)
            if target.state is TargetState.DEFERRED and target.code in CATCHES_UP:
                memory.catch_up[tenant] = None
            else:
                memory.catch_up.pop(tenant, None)
        memory.touched = set(self.touched)


def _shown(target: TargetNow) -> tuple[str, str, str, datetime | None]:
    """What reads show of a target in its wave's counts."""
    return target.state, target.code, target.reason, target.waits_until
