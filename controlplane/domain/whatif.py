"""What would happen: the real plan and the real decisions, played in virtual time against durations and odds from history. Pure.

A run draws how long each target's work takes (lognormal through the recorded median and 90th percentile), whether it fails, how long people take at
gates and whether a gate stops a wave; then lets `decide` and `start` do what they would do. Many runs give the distribution. What it does not
know: other rollouts, quotas, clusters that go away.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from controlplane.domain.admission import EnvironmentRow
from controlplane.domain.decide import decide
from controlplane.domain.decide_windows import needs_of_waves
from controlplane.domain.dispatch import Asked, Started, needs_of, start
from controlplane.domain.draft import Draft
from controlplane.domain.engine import Change, EffectDone, Looked, Memory, RolloutNow, TargetNow, WaveNow, tally_of
from controlplane.domain.exposure import Budget, caps_for
from controlplane.domain.failure_odds import FailureOdds
from controlplane.domain.forecast import ASSUMED
from controlplane.domain.gating import GateJudged, GateKey, GateNow, Judged, Verdict, gates_of
from controlplane.domain.health import Health, Judgement
from controlplane.domain.plans import Plan
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState, TargetState, WaveState
from controlplane.domain.targets import Phase, PhaseDuration
from controlplane.domain.windows import Attached, closed_at

P90 = 1.2815515594600038
"""The standard normal's 90th percentile."""
BACK = PhaseDuration(30, 120)
"""A way back, where none was recorded."""
MOST_STEPS = 2_000_000
"""A run that takes more is stuck: a bug."""
ID = "what-if"


@dataclass(frozen=True, slots=True)
class GateOdds:
    """What gates of one kind did before: the share of waves they stopped, and how long they took to open."""

    fails: float = 0.0
    opens: PhaseDuration = field(default_factory=lambda: PhaseDuration(0, 0))


@dataclass(frozen=True, slots=True)
class Odds:
    """What to draw from. `fails`: probability that a target fails; `rho`: how much targets of one run share that fate; `gates` by kind."""

    durations: Mapping[Phase, PhaseDuration] = field(default_factory=dict)
    fails: float = 0.0
    rho: float = 0.0
    gates: Mapping[str, GateOdds] = field(default_factory=dict)
    migrates: bool = False
    windows: Attached = field(default_factory=Attached)


@dataclass(frozen=True, slots=True)
class Moment:
    """What was at stake from a moment on (seconds after the start)."""

    seconds: float
    in_flight: int
    unverified: int
    orders_per_hour: Decimal


@dataclass(frozen=True, slots=True)
class Run:
    """One run: how it ended and when, what stopped it (empty: nothing; a gate: its kind, and which), how many went back, the curve."""

    outcome: str
    seconds: float
    stopped_by: str
    verified: int
    gone_back: int
    curve: tuple[Moment, ...]
    gate: GateKey | None = None


def play(plan: Plan, odds: Odds, now: datetime, seed: int) -> Run:
    """Play a plan once from `now`; the same seed gives the same run."""
    return _Game(plan, odds, now, random.Random(seed)).play()  # noqa: S311 -- draws of a simulation, not secrets


def drawn(duration: PhaseDuration, dice: random.Random) -> float:
    """Seconds from a lognormal through a median and a 90th percentile."""
    if duration.p50 <= 0:
        return 0.0
    spread = math.log(max(duration.p90 / duration.p50, 1.0)) / P90
    return duration.p50 * math.exp(spread * dice.gauss(0, 1))


class _Game:
    """One run in progress."""

    def __init__(self, plan: Plan, odds: Odds, now: datetime, dice: random.Random) -> None:
        self.plan, self.odds, self.dice = plan, odds, dice
        self.fails = FailureOdds(odds.fails, odds.rho).drawn(dice)
        self.began = self.now = max(now, plan.not_before or now)
        self.memory = _memory(plan, odds, self.began)
        planned = {target.tenant: target for target in plan.targets()}
        self.orders = {tenant: Decimal(target.orders_per_hour) for tenant, target in planned.items()}
        self.rows = {
            t: EnvironmentRow(
                t, "active", 1, None, False, "uid", p.base_revision, None, p.base_revision, p.way_back.revision
            )
            for t, p in planned.items()
        }
        self.caps = caps_for(ID, plan.limits)
        self.held: dict[str, Mapping[str, Any]] = {}
        self.ready: dict[str, tuple[datetime, bool]] = {}
        self.judged: dict[GateKey, datetime | None] = {}
        self.queue: list[tuple[datetime, int, Change | str]] = []
        self.order = count()
        self.curve: list[Moment] = []
        self.stuck: set[str] = set()
        self.stopped_by: GateKey | None = None

    def play(self) -> Run:
        """Let everything happen, in order."""
        self._tick([])
        for _ in range(MOST_STEPS):
            if self.memory.rollout.state in ROLLOUT_OVER or not self.queue:
                break
            self._tick(self._next())
        rollout = self.memory.rollout
        states = [target.state for target in self.memory.targets.values()]
        back = sum(state in (TargetState.ROLLED_BACK, TargetState.STUCK) for state in states)
        seconds = (self.now - self.began).total_seconds()
        verified = states.count(TargetState.VERIFIED)
        ended = rollout.state in ROLLOUT_OVER
        outcome, gate = str(rollout.state) if ended else "waiting", self._gate()
        stopped = self.memory.gates[gate].kind if gate else rollout.halted
        return Run(outcome, seconds, stopped, verified, back, tuple(self.curve), gate)

    def _gate(self) -> GateKey | None:
        """The gate that stopped it, if one did."""
        return self.stopped_by if self.memory.rollout.halted == "gate-failed" else None

    def _next(self) -> list[Change]:
        """All that happens at the next moment."""
        self.now = max(self.now, self.queue[0][0])
        changes: list[Change] = []
        while self.queue and self.queue[0][0] <= self.now:
            what = heapq.heappop(self.queue)[2]
            change = self._look(what) if isinstance(what, str) else what
            if change is not None:
                changes.append(change)
        return changes

    def _at(self, when: datetime, what: Change | str) -> None:
        heapq.heappush(self.queue, (when, next(self.order), what))

    def _tick(self, changes: list[Change]) -> None:
        """One pass of the engine, as the driver does it."""
        if self.memory.closed.at is None or self.memory.closed.stale(self.now):
            self.memory.closed = closed_at(self.odds.windows, needs_of_waves(self.plan, self.odds.windows), self.now)
            if self.memory.closed.until is not None:
                self._at(self.memory.closed.until, "")
        for change in changes:
            if isinstance(change, GateJudged) and change.judged.verdict is Verdict.FAIL and not self.stopped_by:
                self.stopped_by = change.key
        draft = decide(self.memory, changes, self.now)
        candidates = [*draft.onward, *draft.forward]
        asked = dict.fromkeys(candidates, Asked(migrates=self.odds.migrates))
        started, _ = start(draft, candidates, asked, self.rows, self._budgets(draft, candidates), timeline=1)
        draft.adopt()
        for one in started:
            self._begin(one)
        self._give_back()
        for when, tenant in draft.timers():
            self._at(max(when, self.now + timedelta(milliseconds=100)), tenant)
        if self.memory.touched:
            self._at(self.now + timedelta(milliseconds=10), "")
        self._ask_gates()
        self._note()

    def _budgets(self, draft: Draft, candidates: list[str]) -> dict[str, Budget]:
        scopes = {scope for tenant in candidates for scope in needs_of(draft, tenant)}
        reserved: dict[str, Any] = {}
        for taken in self.held.values():
            for scope, amount in taken.items():
                reserved[scope] = reserved.get(scope, 0) + amount
        return {scope: Budget(self.caps.get(scope), reserved.get(scope, 0)) for scope in scopes}

    def _begin(self, one: Started) -> None:
        """Draw how long the work takes, and tell when it is done."""
        target = one.target
        self.held[target.tenant] = {**self.held.get(target.tenant, {}), **one.takes}
        self.rows[target.tenant] = replace(
            self.rows[target.tenant],
            epoch=one.epoch,
            slot_id=ID,
            current=target.revision if target.revision is not None else self.rows[target.tenant].current,
            last_number=max(self.rows[target.tenant].last_number, target.revision or 0),
        )
        phase: Phase = "migrate" if target.phase == "migrate" else "apply"
        seconds = self._draw(phase)
        if target.phase == "migrate" or (target.state is TargetState.APPLY and not self.odds.migrates):
            seconds += self._draw("preflight") + (self._draw("backup") if self.odds.migrates else 0.0)
        done = self.now + timedelta(seconds=seconds)
        self._at(done, EffectDone(target.tenant, target.phase, "ok"))
        if target.phase == "apply":
            self.ready[target.tenant] = (
                done + timedelta(seconds=self._draw("verify")),
                self.dice.random() >= self.fails,
            )
        elif target.phase == "back":
            self.ready[target.tenant] = (
                done + timedelta(seconds=drawn(self.odds.durations.get("back", BACK), self.dice)),
                True,
            )
        if target.phase in ("apply", "back"):
            self._at(self.ready[target.tenant][0], target.tenant)

    def _draw(self, phase: Phase) -> float:
        return drawn(self.odds.durations.get(phase, ASSUMED[phase]), self.dice)

    def _look(self, tenant: str) -> Change | None:
        """What the cluster would show of a target now."""
        if not tenant or tenant not in self.ready:
            return None
        when, well = self.ready[tenant]
        if self.now < when:
            return Looked(tenant, Judgement(Health.PROGRESSING, "not ready yet"), live=True)
        if well:
            return Looked(tenant, Judgement(Health.HEALTHY), live=True)
        return Looked(tenant, Judgement(Health.UNHEALTHY, "drawn to fail"), live=True)

    def _give_back(self) -> None:
        """Places of targets that are settled."""
        for tenant in [t for t in self.held if not self.memory.targets[t].in_flight]:
            del self.held[tenant]
            if self.memory.targets[tenant].state is TargetState.STUCK:
                self.stuck.add(tenant)

    def _ask_gates(self) -> None:
        """Draw, once each, when the gates that stand now open or what they stop."""
        for gate in self._standing():
            if gate.key in self.judged:
                continue
            odds = self.odds.gates.get(gate.kind, GateOdds())
            fails = self.dice.random() < odds.fails
            when = self.now + timedelta(seconds=max(drawn(odds.opens, self.dice), 0.01))
            self.judged[gate.key] = when
            verdict = Verdict.FAIL if fails else Verdict.PASS
            self._at(when, GateJudged(gate.key, Judged(verdict, "drawn")))
        for gates in self.memory.at_gates.values():
            for gate in gates:
                if gate.verdict is not Verdict.PASS and gate.key not in self.judged:
                    self.judged[gate.key] = self.now
                    self._at(self.now + timedelta(milliseconds=10), GateJudged(gate.key, Judged(Verdict.PASS, "drawn")))

    def _standing(self) -> Iterator[GateNow]:
        for gate in self.memory.gates.values():
            wave = self.memory.waves[gate.key.wave]
            changed = wave.moving + wave.verified > 0
            if (
                (gate.key.place == "before" and wave.state is WaveState.GATING)
                or (gate.key.place == "during" and wave.state is WaveState.RUNNING and changed)
                or (gate.key.place == "after" and wave.state is WaveState.JUDGING)
            ):
                yield gate

    def _note(self) -> None:
        """Add to the curve when what is at stake has changed."""
        flying = self.held
        orders = sum((self.orders[t] for t in flying), Decimal(0))
        moment = Moment((self.now - self.began).total_seconds(), len(flying), len(flying) + len(self.stuck), orders)
        if not self.curve or replace(self.curve[-1], seconds=moment.seconds) != moment:
            self.curve.append(moment)


def _memory(plan: Plan, odds: Odds, now: datetime) -> Memory:
    """A rollout as its driver would load it before anything has happened."""
    targets = {
        planned.tenant: TargetNow(
            tenant=planned.tenant,
            environment=planned.environment,
            namespace=planned.tenant,
            cluster=planned.cluster,
            region=planned.region,
            wave=number,
            position=position,
            content=planned.content,
            base_revision=planned.base_revision,
            way_back=planned.way_back.kind,
            back_to=planned.way_back.revision,
            state=TargetState.PENDING,
            since=now,
            orders_per_hour=planned.orders_per_hour,
            money_at_risk=planned.money_at_risk,
            brand=planned.brand,
            region_pair=planned.region_pair,
        )
        for number, wave in enumerate(plan.waves)
        for position, planned in enumerate(wave.targets)
    }
    waves = [WaveNow(n, wave.name, tuple(t.tenant for t in wave.targets)) for n, wave in enumerate(plan.waves)]
    return Memory(
        ID,
        plan,
        RolloutNow(RolloutState.PLANNED, now),
        [tally_of(wave, (targets[t] for t in wave.order)) for wave in waves],
        targets,
        touched=set(range(len(waves))),
        gates=gates_of(plan),
        windows=odds.windows,
    )
