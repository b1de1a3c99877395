"""The pure engine under anything that may happen to it: effects, looks, commands, freezes, refusals, faults, takeovers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.adapters.postgres.engine.rows import memory_of, target_of
from controlplane.adapters.postgres.json_text import as_json
from controlplane.domain.admission import ClusterFacts, EnvironmentRow
from controlplane.domain.consequences import consequence_of
from controlplane.domain.counts import Counts
from controlplane.domain.decide import decide
from controlplane.domain.dispatch import Asked, Started, screen, start
from controlplane.domain.disturbance import ANOTHER_BLAMED, ASKING, Excuse
from controlplane.domain.draft import Draft
from controlplane.domain.engine import (
    CATCHES_UP,
    Change,
    CommandSeen,
    Decision,
    EffectDone,
    Faulty,
    Frozen,
    Looked,
    Memory,
    RolloutNow,
    TargetNow,
    TimeUp,
    WaveNow,
    tally_of,
)
from controlplane.domain.exposure import (
    FLEET_IN_FLIGHT,
    BreakerState,
    Budget,
    caps_for,
    given_back,
    reservations_for,
    rollback_reservations_for,
    rollout_scope,
)
from controlplane.domain.gating import GateJudged, GateKey, GateNow, Judged, Verdict, gates_of, passage
from controlplane.domain.health import Health, Judgement
from controlplane.domain.planner import plan
from controlplane.domain.plans import Plan
from controlplane.domain.quantities import Money
from controlplane.domain.rollouts import (
    ROLLOUT_OVER,
    ROLLOUT_TRANSITIONS,
    TARGET_FORWARD,
    TARGET_SETTLED,
    TARGET_TRANSITIONS,
    WAVE_TRANSITIONS,
    RolloutState,
    TargetState,
    WaveState,
)
from controlplane.domain.windows import Closed, Opening

from .fleet import NOW, fleet, inputs, strategy

ID = "rollout-1"
HEALTH = {
    "healthy": Judgement(Health.HEALTHY),
    "progressing": Judgement(Health.PROGRESSING, "0 of 1 ready"),
    "unhealthy": Judgement(Health.UNHEALTHY, "crash loop"),
    "quota": Judgement(Health.PROGRESSING, "exceeded quota", quota_blocked=True),
    "unknown": Judgement(Health.UNKNOWN, "the watch is silent"),
}


def plan_for(size: int, roll_back: str, then: str, limit: int, failures: int, samples: int, without: set[int]) -> Plan:
    """Waves of 1 and growing; `without` are the places of targets that have nothing to go back to."""
    targets = [
        replace(facts, base_revision=0, last_verified_revision=0, current_content=None, current_version=None)
        if n in without
        else replace(facts, value_per_order=Money(amount=Decimal(n), currency="EUR"), labels={"brand": f"b{n % 2}"})
        for n, facts in enumerate(fleet(size))
    ]
    waves = [
        {"name": "pilot", "cut": {"count": 1}, "soak": {"for": "PT0S", "samples": 1}},
        {"name": "grow", "cut": {"growth": {"first": 2, "factor": 2}}, "soak": {"for": "PT2S", "samples": samples}},
    ]
    rules = strategy(
        *waves,
        limits={"inFlight": limit, "exposure": 120, "moneyAtRisk": {"amount": "200", "currency": "EUR"}, "perBrand": 2},
        success={"maxFailures": failures, "progressDeadline": "PT30S"},
        onFailure={"rollBack": roll_back, "then": then} | ({"maxFailures": 2} if size % 2 else {}),
        windows={"wait": "PT20S", "then": "defer" if failures else "hold"},
    )
    return plan(inputs(targets, rules))


def gated(plan: Plan, *places: str) -> Plan:
    """The plan with a gate at each of these places of its waves."""
    gate: tuple[dict[str, Any], ...] = ({"webhook": {}},)
    marks: dict[str, Any] = {place: gate for place in ("before", "before_each", "after") if place in places}
    waves = tuple(wave.model_copy(update=marks) for wave in plan.waves)
    return plan.model_copy(update={"waves": waves, "during": gate if "during" in places else ()})


def fresh_target(plan: Plan, wave: int, position: int) -> TargetNow:
    """A planned target as its row begins."""
    planned = plan.waves[wave].targets[position]
    return TargetNow(
        tenant=planned.tenant,
        environment=planned.environment,
        namespace=planned.tenant,
        cluster=planned.cluster,
        region=planned.region,
        wave=wave,
        position=position,
        content=planned.content,
        base_revision=planned.base_revision,
        way_back="none" if planned.way_back.kind == "none" else "reapply",
        back_to=planned.way_back.revision,
        state=TargetState.PENDING,
        since=NOW,
        orders_per_hour=planned.orders_per_hour,
        money_at_risk=planned.money_at_risk,
        brand=planned.brand,
    )


class EngineMachine(RuleBasedStateMachine):
    """A driver over rows, budgets and a cluster that are plain values here."""

    @initialize(
        size=st.integers(2, 9),
        roll_back=st.sampled_from(["failed-targets", "wave", "rollout"]),
        then=st.sampled_from(["halt", "continue"]),
        limit=st.integers(1, 4),
        failures=st.integers(0, 2),
        samples=st.integers(1, 3),
        without=st.sets(st.integers(0, 8), max_size=3),
        gates=st.sets(st.sampled_from(["before", "before_each", "during", "after"])),
    )
    def begin(
        self,
        size: int,
        roll_back: str,
        then: str,
        limit: int,
        failures: int,
        samples: int,
        without: set[int],
        gates: set[str],
    ) -> None:
        self.plan = gated(plan_for(size, roll_back, then, limit, failures, samples, without), *gates)
        self.gates = gates_of(self.plan)
        self.at_gates: dict[str, tuple[GateNow, ...]] = {}
        self.now = NOW
        targets = [
            fresh_target(self.plan, w, p) for w, wave in enumerate(self.plan.waves) for p in range(len(wave.targets))
        ]
        self.memory = self._memory(RolloutNow(RolloutState.PLANNED, NOW), targets, [])
        self.rows = {
            t.tenant: EnvironmentRow(
                t.tenant, "active", 1, None, False, "uid", t.base_revision, None, t.base_revision, t.back_to
            )
            for t in targets
        }
        self.hands: dict[str, str] = {}
        self.held: dict[str, dict[str, Any]] = {}
        self.frozen = False
        self.closed = Closed()
        self.reachable = True
        self.breaker: BreakerState = ""
        self.commands = 0
        self.tick([])

    def _memory(self, rollout: RolloutNow, targets: list[TargetNow], waves: list[WaveNow]) -> Memory:
        """What a load makes of rows."""
        by_name = {t.tenant: t for t in targets}
        if not waves:
            waves = [
                WaveNow(n, wave.name, tuple(t.tenant for t in wave.targets)) for n, wave in enumerate(self.plan.waves)
            ]
        tallied = [tally_of(wave, (by_name[t] for t in wave.order)) for wave in waves]
        wanting = {t.tenant: None for t in targets if t.wants}
        return Memory(
            ID,
            self.plan,
            rollout,
            tallied,
            by_name,
            wanting=wanting,
            catch_up={t.tenant: None for t in targets if t.state is TargetState.DEFERRED and t.code in CATCHES_UP},
            touched=set(range(len(self.plan.waves))),
            gates=dict(self.gates),
            at_gates=dict(self.at_gates),
        )

    # What may happen.

    @rule(data=st.data(), outcome=st.sampled_from(["ok", "ok", "ok", "failed", "quota", "gone"]))
    @precondition(lambda self: self.hands)
    def an_effect_returns(self, data: st.DataObject, outcome: Any) -> None:
        tenant = data.draw(st.sampled_from(sorted(self.hands)))
        phase: Any = self.hands.pop(tenant)
        self.tick([EffectDone(tenant, phase, outcome, "" if outcome == "ok" else f"{outcome}-code", "why")])

    @rule(
        data=st.data(),
        how=st.sampled_from(sorted(HEALTH)),
        seconds=st.integers(0, 40),
        excuse=st.sampled_from(
            [None, None, Excuse("node-away", "node n1 is gone"), ASKING, Excuse(ANOTHER_BLAMED, "odoo is blamed")]
        ),
    )
    def somebody_looks(self, data: st.DataObject, how: str, seconds: int, excuse: Excuse | None) -> None:
        self.now += timedelta(seconds=seconds)
        tenant = data.draw(st.sampled_from(sorted(self.memory.targets)))
        blamed = self.memory.targets[tenant].failed
        self.tick([Looked(tenant, HEALTH[how], live=how != "unknown", excuse=excuse)])
        assert excuse is None or self.memory.targets[tenant].failed == blamed, "an excused target was blamed"

    @rule(
        command=st.sampled_from(["pause", "resume", "resume", "retry"]),
    )
    def a_person_says(self, command: str) -> None:
        self.tick([self._command(command)])

    @rule(data=st.data())
    def a_person_retries_one(self, data: st.DataObject) -> None:
        self.tick([self._command("retry", tenants=[data.draw(st.sampled_from(sorted(self.rows)))])])

    @rule(how=st.sampled_from(["finish", "rollBack", "supersede"]))
    @precondition(lambda self: self.commands > 3)
    def a_person_ends_it(self, how: str) -> None:
        self.tick([self._command("supersede")] if how == "supersede" else [self._command("abort", inFlight=how)])

    @rule(data=st.data())
    @precondition(lambda self: self.commands > 1)
    def a_vote_blames_it(self, data: st.DataObject) -> None:
        """Nothing more starts, and whoever is named and can go back begins to."""
        named = data.draw(st.sets(st.sampled_from(sorted(self.memory.targets))))
        ran = self.memory.rollout.state in (RolloutState.RUNNING, RolloutState.PAUSED) and not self.memory.rollout.abort
        self.tick([self._command("halt", reason="blamed: so they voted", tenants=[*sorted(named), "stranger"])])
        if ran and self.memory.rollout.state not in ROLLOUT_OVER:
            assert self.memory.rollout.halted
            assert not any(wave.pending for wave in self.memory.waves)
            for tenant in named:
                target = self.memory.targets[tenant]
                verified = target.state is TargetState.VERIFIED and target.way_back == "reapply" and not target.phase
                assert not verified or target.wants == "back" or target.code != "blamed"

    @rule(data=st.data())
    def an_emergency_wants_some(self, data: st.DataObject) -> None:
        """Who is pending or soaks yields at once, who is in between goes on; nobody else is touched."""
        wanted = data.draw(st.sets(st.sampled_from(sorted(self.memory.targets)), min_size=1))
        before = {t: self.memory.targets[t] for t in wanted}
        self.tick([self._command("preempt", rollout="urgent", tenants=[*sorted(wanted), "stranger"])])
        for tenant, old in before.items():
            if old.state in (TargetState.MIGRATE, TargetState.APPLY, TargetState.VERIFY):
                assert self.memory.targets[tenant].state is old.state

    @rule(data=st.data(), verdict=st.sampled_from([Verdict.PASS, Verdict.PASS, *Verdict]), blames=st.booleans())
    @precondition(lambda self: self.gates)
    def a_gate_is_judged(self, data: st.DataObject, verdict: Verdict, blames: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.gates)))
        wave = self.plan.waves[key.wave]
        tenants = (wave.targets[0].tenant,) if blames and verdict is Verdict.FAIL else ()
        self.tick([GateJudged(key, Judged(verdict, "so it says", tenants=tenants))])

    @rule(data=st.data(), verdict=st.sampled_from([Verdict.PASS, Verdict.PASS, *Verdict]), seconds=st.integers(0, 3))
    @precondition(lambda self: self.memory.at_gates)
    def a_gate_before_a_target_is_judged(self, data: st.DataObject, verdict: Verdict, seconds: int) -> None:
        """Also for one that has left meanwhile, and with a pass that is too old by the time it is taken in."""
        tenant = data.draw(st.sampled_from(sorted(self.memory.targets)))
        self.tick([self._judged_before(tenant, verdict, seconds)])

    def _judged_before(self, tenant: str, verdict: Verdict, seconds: int = 60) -> GateJudged:
        until = self.now + timedelta(seconds=seconds) if verdict is Verdict.PASS else None
        key = GateKey(self.memory.targets[tenant].wave, "beforeEach", 0, tenant)
        return GateJudged(key, Judged(verdict, "so it says", until=until))

    @rule(frozen=st.booleans(), reachable=st.booleans())
    def the_weather_changes(self, frozen: bool, reachable: bool) -> None:
        self.frozen, self.reachable = frozen, reachable
        self.tick([])

    @rule(data=st.data(), seconds=st.integers(0, 15), begins=st.booleans())
    def windows_open_and_close(self, data: st.DataObject, seconds: int, begins: bool) -> None:
        """Group 0 is closed for every wave, group 1 open; a wave may be kept from beginning."""
        self.now += timedelta(seconds=seconds)
        shut = Opening(open=False, until=None, reason=f"opens at {self.now + timedelta(seconds=9)}")
        groups = {t: data.draw(st.integers(0, 1)) for t in sorted(self.memory.targets)}
        waves = {} if begins else {len(self.plan.waves) - 1: shut}
        self.closed = Closed(groups, {(0, wave): shut for wave in range(len(self.plan.waves))}, waves)
        self.tick([])

    @rule(data=st.data(), seconds=st.integers(0, 30))
    @precondition(lambda self: self.closed.shut)
    def a_straggler_has_waited(self, data: st.DataObject, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.tick([TimeUp(data.draw(st.sampled_from(sorted(self.memory.targets))))])

    @rule(state=st.sampled_from(["", "", "open", "halfOpen"]))
    def the_breaker_moves(self, state: BreakerState) -> None:
        self.breaker = state
        self.tick([])

    @rule(data=st.data(), how=st.sampled_from(["suspended", "offboarding", "active", "moved"]))
    def a_registry_row_changes(self, data: st.DataObject, how: str) -> None:
        tenant = data.draw(st.sampled_from(sorted(self.rows)))
        row = self.rows[tenant]
        if how != "moved":
            self.rows[tenant] = replace(row, phase=how)
        elif row.slot_id is None and not self.memory.targets[tenant].lent:
            self.rows[tenant] = replace(row, current=row.last_number + 1, last_number=row.last_number + 1)
        self.tick([])

    @rule(data=st.data())
    def a_row_turns_out_broken(self, data: st.DataObject) -> None:
        asked = [
            t.tenant
            for t in self.memory.targets.values()
            if t.phase == "" and (t.wants or t.state is TargetState.PENDING)
        ]
        if asked:
            self.tick([Faulty(data.draw(st.sampled_from(asked)), "data-fault", "a row can't be written")])

    @rule()
    def another_driver_takes_over(self) -> None:
        """All that is not in the rows is lost; phases in hand are taken up again."""
        targets = [self._reloaded(target) for target in self.memory.targets.values()]
        waves = [
            WaveNow(
                w.index,
                w.name,
                w.order,
                w.state,
                started_at=w.started_at,
                code=w.code,
                reason=w.reason,
                waiting_since=w.waiting_since,
            )
            for w in self.memory.waves
        ]
        kept = {t.tenant: t.phase for t in targets if t.phase}
        assert kept == self.hands
        waits = (Verdict.WAIT, Verdict.UNKNOWN)
        self.at_gates = {t: g for t, g in self.memory.at_gates.items() if g[0].since and g[0].verdict in waits}
        self.memory = self._memory(self.memory.rollout, targets, waves)
        self.tick([])

    def _reloaded(self, target: TargetNow) -> TargetNow:
        stored = {"driver": json.loads(as_json(memory_of(target)))}
        row = SimpleNamespace(
            **{name: getattr(target, name) for name in _COLUMNS}, state=str(target.state), memory=stored
        )
        planned = self.plan.waves[target.wave].targets[target.position]
        return target_of(row, planned, target.namespace)

    def _command(self, command: str, **body: object) -> CommandSeen:
        self.commands += 1
        return CommandSeen(self.commands, command, body, "mia")

    # One driver transaction.

    def tick(self, changes: list[Change]) -> None:
        self.memory.frozen = Frozen("peak" if self.frozen else "")
        self.memory.closed = self.closed
        before = {t: target.state for t, target in self.memory.targets.items()}
        rollout, waves = self.memory.rollout.state, [w.state for w in self.memory.waves]
        draft = decide(self.memory, changes, self.now)
        first = draft.take()
        asked = [*draft.onward, *draft.forward]
        facts = ClusterFacts(self.reachable, uid="uid")
        onward, forward = screen(draft, self.rows, dict.fromkeys(asked, facts))
        migrates = {
            t: Asked(migrates=draft.target(t).position % 2 == 1, prunes=draft.target(t).position % 3 == 0)
            for t in asked
        }
        started, _ = start(draft, [*onward, *forward], migrates, self.rows, self._budgets(draft), timeline=1)
        self._write(first)
        for one in started:
            self._grant(draft, one)
        self._write(draft.take())
        counts = draft.counts()
        draft.adopt()
        for wave, groups in counts.items():
            kept = [(g.state, g.code, g.number) for g in self.memory.counts.of(wave)]
            assert [(g.state, g.code, g.number) for g in groups] == kept
            shown = {g.tenant: (g.state, g.code) for g in groups}
            assert shown == {t: (str(self.memory.targets[t].state), self.memory.targets[t].code) for t in shown}
        self.gates = dict(self.memory.gates)
        for tenant, state in before.items():
            assert _reachable(TARGET_TRANSITIONS, state, self.memory.targets[tenant].state)
        assert _reachable(ROLLOUT_TRANSITIONS, rollout, self.memory.rollout.state)
        for old, new in zip(waves, self.memory.waves, strict=True):
            assert _reachable(WAVE_TRANSITIONS, old, new.state)
            if new.state is WaveState.DONE and old is not WaveState.DONE and new.moving + new.verified:
                during = [g for g in self.gates.values() if (g.key.wave, g.key.place) == (new.index, "during")]
                assert all(gate.verdict is Verdict.PASS for gate in during), "a wave is not done before it was measured"

    def _budgets(self, draft: Draft) -> dict[str, Budget]:
        scopes: dict[str, Any] = {}
        for held in self.held.values():
            for scope, amount in held.items():
                scopes[scope] = scopes.get(scope, 0) + amount
        limits = self.plan.limits
        caps = caps_for(ID, limits)
        every = set(scopes)
        for target in draft.memory.targets.values():
            every |= {*reservations_for(target, ID, limits), *rollback_reservations_for(target)}
        rows = {scope: Budget(caps.get(scope), scopes.get(scope, 0)) for scope in every}
        return rows | {FLEET_IN_FLIGHT: replace(rows[FLEET_IN_FLIGHT], breaker=self.breaker)}

    def _grant(self, draft: Draft, one: Started) -> None:
        """What a start may never do, then its rows."""
        tenant, row = one.target.tenant, self.rows[one.target.tenant]
        assert one.epoch > row.epoch
        assert draft.rollout.state in (RolloutState.RUNNING, RolloutState.ROLLING_BACK)
        assert tenant not in self.hands
        assert self.reachable
        if rollout_scope(ID) in one.takes:
            assert not self.frozen
            assert self.closed.keeps(tenant, one.target.wave) is None
            assert self.breaker in ("", "halfOpen")
            self.breaker = "probing" if self.breaker else ""
            assert not draft.rollout.halted
            assert not draft.rollout.abort
            assert draft.rollout.state is RolloutState.RUNNING
            assert row.phase == "active"
            assert row.current == one.target.base_revision
            if self.plan.waves[one.target.wave].before_each:
                assert passage(draft.gates_before(one.target), self.now) == "open"
            number = row.last_number + 1
            row = replace(row, current=number, last_number=number)
        elif one.target.phase != "back":
            assert row.slot_id == ID or (one.target.lent and row.slot_id is None)
        else:
            assert row.slot_id in (ID, None)
        held = self.held.setdefault(tenant, {})
        for scope, amount in one.takes.items():
            assert scope not in held
            held[scope] = amount
        for scope, cap in caps_for(ID, self.plan.limits).items():
            assert sum(one.get(scope, 0) for one in self.held.values()) <= cap
        self.rows[tenant] = replace(row, slot_id=ID, epoch=one.epoch)
        self.hands[tenant] = one.target.phase

    def _write(self, decision: Decision) -> None:
        for tenant, (old, new) in decision.targets.items():
            found, row = consequence_of(old, new), self.rows[tenant]
            if found.free_slot and row.slot_id == ID:
                row = replace(row, slot_id=None, dirty=row.dirty if found.dirty is None else found.dirty)
            elif found.free_slot and found.dirty:
                row = replace(row, dirty=True)
            current = row.current if found.runs is None else found.runs
            verified = row.verified if found.verified is None else found.verified
            self.rows[tenant] = replace(row, current=current, verified=verified)
            if found.give_back:
                held = self.held.pop(tenant, {})
                back = given_back(held, found.give_back)
                left = {scope: amount for scope, amount in held.items() if scope not in back}
                if left:
                    self.held[tenant] = left

    # What always holds.

    @invariant()
    def tallies_are_right(self) -> None:
        for wave in self.memory.waves:
            afresh = tally_of(wave, (self.memory.targets[t] for t in wave.order))
            assert replace(wave, cursor=0, scan=0) == afresh

    @invariant()
    def counts_are_right(self) -> None:
        afresh = Counts(self.memory.targets.values())
        for wave in self.memory.waves:
            numbers = [(g.state, g.code, g.number) for g in self.memory.counts.of(wave.index)]
            assert numbers == [(g.state, g.code, g.number) for g in afresh.of(wave.index)]

    @invariant()
    def nobody_pending_is_behind_the_cursor(self) -> None:
        for wave in self.memory.waves:
            for tenant in wave.order[: wave.cursor]:
                assert self.memory.targets[tenant].state is not TargetState.PENDING

    @invariant()
    def whoever_is_passed_over_waits_for_something_that_is_heard(self) -> None:
        for wave in self.memory.waves:
            for tenant in (
                wave.order[: wave.scan] if self.memory.scanned == (self.memory.frozen, self.memory.closed) else ()
            ):
                pending = self.memory.targets[tenant].state is TargetState.PENDING
                kept = self.memory.closed.keeps(tenant, wave.index)
                assert not pending or kept or passage(self.memory.at_gates[tenant], self.now) == "waiting"

    @invariant()
    def only_the_pending_stand_at_gates_of_their_own(self) -> None:
        for tenant in self.memory.at_gates:
            assert self.memory.targets[tenant].state is TargetState.PENDING

    @invariant()
    def no_more_are_on_their_way_than_the_limit(self) -> None:
        forward = [t for t in self.memory.targets.values() if t.state in TARGET_FORWARD]
        assert len(forward) <= self.plan.limits.in_flight

    @invariant()
    def whoever_failed_goes_back_or_is_stuck(self) -> None:
        for target in self.memory.targets.values():
            assert target.state is not TargetState.FAILED or target.wants == "back"
            assert target.state is not TargetState.STUCK or (target.code and target.reason)

    @invariant()
    def a_rollout_that_bears_no_more_failures_is_halted(self) -> None:
        failed, limit = sum(wave.failed for wave in self.memory.waves), self.plan.max_failures
        if limit is not None and failed > limit and self.memory.rollout.state not in ROLLOUT_OVER:
            assert self.memory.rollout.halted or self.memory.rollout.abort
            assert not any(wave.pending for wave in self.memory.waves if wave.state == "running")

    @invariant()
    def a_slot_is_held_exactly_while_in_flight(self) -> None:
        for target in self.memory.targets.values():
            mine = self.rows[target.tenant].slot_id == ID
            in_hand = target.phase != "" or target.state in TARGET_FORWARD
            assert mine or not in_hand or (target.lent and not target.phase)
            assert not mine or target.in_flight

    @invariant()
    def what_is_settled_holds_no_place(self) -> None:
        for target in self.memory.targets.values():
            if target.state in TARGET_SETTLED and not target.in_flight:
                kept = self.held.get(target.tenant, {})
                assert all(scope.endswith("/unverified") for scope in kept)
                assert target.state is TargetState.STUCK or not kept

    @invariant()
    def the_wanting_are_known(self) -> None:
        assert set(self.memory.wanting) == {t.tenant for t in self.memory.targets.values() if t.wants}

    @invariant()
    def what_is_over_has_nothing_in_flight(self) -> None:
        if self.memory.rollout.state in ROLLOUT_OVER:
            assert self.memory.in_flight == 0
            assert not self.hands

    def teardown(self) -> None:
        """Once nothing is held up any more, every rollout ends."""
        if not hasattr(self, "plan"):
            return
        self.frozen, self.reachable, self.closed, self.breaker = False, True, Closed(), ""
        for _ in range(40 + 20 * len(self.rows)):
            if self.memory.rollout.state in ROLLOUT_OVER:
                break
            changes: list[Change] = []
            if self.memory.rollout.state is RolloutState.PAUSED:
                changes.append(self._command("resume"))
            changes += [EffectDone(t, phase, "ok") for t, phase in self.hands.items()]  # type: ignore[arg-type]  # phases
            self.hands = {}
            changes += [GateJudged(key, Judged(Verdict.PASS, "yes")) for key in self.gates]
            changes += [self._judged_before(tenant, Verdict.PASS) for tenant in self.memory.at_gates]
            changes += [Looked(t, HEALTH["healthy"], live=True) for t in self.memory.targets]
            self.now += timedelta(seconds=2)
            self.tick(changes)
        states = {t.tenant: str(t.state) for t in self.memory.targets.values()}
        assert self.memory.rollout.state in ROLLOUT_OVER, (self.memory.rollout, states, self.memory.waves)
        self.what_is_settled_holds_no_place()
        assert all(row.slot_id is None for row in self.rows.values())


_COLUMNS = (
    "tenant",
    "environment",
    "wave",
    "position",
    "code",
    "reason",
    "base_revision",
    "revision",
    "attempt",
    "epoch",
    "since",
    "started_at",
    "ended_at",
)


def _reachable(table: Any, old: Any, new: Any) -> bool:
    """Whether the table leads from one state to the other, by any number of steps."""
    seen, todo = {old}, [old]
    while todo:
        for state in table[todo.pop()] - seen:
            seen.add(state)
            todo.append(state)
    return new in seen


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
