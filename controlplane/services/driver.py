"""The driver of one rollout: a snapshot in memory, one transaction per tick, effects beside it.

One loop: hear what changed, decide (pure), write in one transaction under the lease, and only after its commit adopt the
decision and send what it issued. After a commit that failed or whose outcome is unknown the driver ends; whoever takes
the lease next, perhaps this very process, loads afresh.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from controlplane.domain.decide import decide
from controlplane.domain.draft import Draft
from controlplane.domain.engine import Change, CommandSeen, Decision, EffectDone, Frozen, Memory, TargetNow, TimeUp
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState, TargetState
from controlplane.ports.delivery import Outcome
from controlplane.ports.engine import DataFaultError, EngineStore, EngineTransaction, Loaded, Observed
from controlplane.ports.faults import fault_point
from controlplane.ports.gates import GatePorts
from controlplane.ports.leases import CommandRow, HeldLease
from controlplane.ports.meters import SILENT, Meters
from controlplane.services.approvals import RECOUNT
from controlplane.services.bisection import Bisection
from controlplane.services.dispatching import Dispatched, Dispatcher
from controlplane.services.docket import Docket
from controlplane.services.fleet import Fleet
from controlplane.services.gatekeeper import Gatekeeper
from controlplane.services.hands import Hands
from controlplane.services.openings import Openings
from controlplane.services.preparing import Prepared, Preparer

GROUP_SECONDS = 0.01
"""How long a tick waits for more to come after the first thing did: the group commit."""
IDLE_AFTER = timedelta(seconds=5)
"""A rollout that can't move before then is let go, to be woken by its `due_at`."""
PAUSED_LOOK = timedelta(hours=1)
_NOT_STARTED = frozenset({TargetState.PENDING, TargetState.DEFERRED})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    """What one pass would write: its decision, who may start, whose seal must be overtaken, what effects came back with."""

    draft: Draft
    first: Decision
    prepared: Mapping[str, Prepared]
    fenced: dict[str, int]
    outcomes: list[Outcome]

    @property
    def observed(self) -> list[Observed]:
        """Ledger rows to write."""
        return [row for outcome in self.outcomes for row in outcome.observed]

    @property
    def done(self) -> list[EffectDone]:
        """Effects that came back."""
        return [outcome.done for outcome in self.outcomes]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write or to try."""
        return self.first.empty and not (self.prepared or self.fenced or self.outcomes)

    @property
    def tenants(self) -> frozenset[str]:
        """All whose rows it touches."""
        told = (event.tenant for event in self.first.events if event.tenant)
        return frozenset(
            {*self.first.targets, *told, *self.prepared, *self.fenced, *(done.tenant for done in self.done)}
        )


class Driver:
    """Drives one rollout under one lease."""

    def __init__(
        self,
        store: EngineStore,
        fleet: Fleet,
        lease: HeldLease,
        loaded: Loaded,
        gates: GatePorts,
        meters: Meters = SILENT,
    ) -> None:
        self._store = store
        self._lease = lease
        self._loaded = loaded
        self._memory: Memory = loaded.memory
        self._wake = asyncio.Event()
        self._timers: list[tuple[datetime, str]] = []
        self._clock = (loaded.now, time.monotonic())
        self._commands = [_seen(command) for command in loaded.commands]
        self._preparer = Preparer(store, loaded.memory.id, loaded.app, migrates=loaded.memory.plan.kind != "rollback")
        self._docket = Docket(loaded.memory.id, gates.blames, lambda: self.now, self._look_again)
        self._hands = Hands(
            fleet,
            loaded.memory,
            lease,
            self._wake,
            delivery=loaded.delivery,
            dependencies=loaded.dependencies,
            docket=self._docket,
            meters=meters,
        )
        self._dispatcher = Dispatcher(fleet, loaded, meters)
        self._gatekeeper = Gatekeeper(gates, loaded, self._wake, lambda: self.now, self._docket)
        self._bisection = Bisection()
        self._given_up: set[str] = set()
        self._draining = False
        self._openings = Openings(store, self._memory)

    @property
    def now(self) -> datetime:
        """The database's clock, carried on by our monotonic one since the last transaction: our wall clock may jump."""
        then, at = self._clock
        return then + timedelta(seconds=time.monotonic() - at)

    def _look_again(self, tenant: str) -> None:
        self._hands.look_again(tenant)

    async def run(self, draining: asyncio.Event) -> None:
        """Drive until the rollout is over, can't move for a while, or the process drains."""
        stop = asyncio.create_task(self._watch_drain(draining))
        try:
            await self._resume()
            while not self._finished():
                await self._openings.look(self.now, asks=self._gatekeeper.busy)
                await self._tick()
                await self._wait()
        finally:
            stop.cancel()
            await self._hands.close()
            await self._gatekeeper.close()
            await self._docket.close()
        await self._put_down()

    async def _resume(self) -> None:
        """Take up the work a predecessor issued: the same steps, under our higher epochs."""
        targets = [self._memory.targets[one.tenant] for one in self._loaded.open_phases]
        prepared = await self._prepare(targets)
        self._hands.release_ended(self._loaded.ended_jobs)
        for one in self._loaded.open_phases:
            if one.tenant in prepared:
                target = self._memory.targets[one.tenant]
                self._hands.start(target, prepared[one.tenant], done=one.done, taken_over=True)
        for target in self._memory.targets.values():
            if target.state in (TargetState.VERIFY, TargetState.SOAK, TargetState.ROLLING_BACK):
                heapq.heappush(self._timers, (self.now, target.tenant))
            if target.state is TargetState.DEFERRED and target.waits_until is not None:
                heapq.heappush(self._timers, (target.waits_until, target.tenant))

    async def _tick(self) -> None:
        """One pass: changes in, decision, transaction, then adopt and send."""
        now = self.now
        if any(command.command == RECOUNT for command in self._commands):
            self._gatekeeper.look_again("approval")
        due = self._due(now)
        heard = self._hands.changes(now, due)
        waited = [TimeUp(tenant) for tenant in due if self._memory.targets[tenant].state in _NOT_STARTED]
        changes: list[Change] = [
            *self._commands,
            *self._gatekeeper.changes(),
            *waited,
            *filter(self._bisection.takes, heard),
        ]
        self._hands.give_back([change for change in heard if not self._bisection.takes(change)])
        outcomes, fenced = self._hands.take_unwritten(self._bisection.has), self._hands.take_fenced()
        draft = decide(self._memory, changes, now)
        prepared = await self._prepare_candidates(draft, fenced)
        tick = Tick(draft, draft.take(), prepared, fenced, outcomes)
        if tick.empty and not self._bisection.going_on and not self._renewal_due():
            self._adopt(draft)
            return
        try:
            committed = await self._commit(tick)
        except DataFaultError as error:
            self._find_fault(tick, error)
            committed = False
        if committed:
            self._bisection.passed()
        else:
            self._hands.give_back(changes)
            self._gatekeeper.give_back(changes)
            self._hands.untake(tick.outcomes)
            self._hands.give_back_fenced(tick.fenced)
        if self._bisection.going_on or not committed:
            self._wake.set()

    async def _prepare(self, targets: Sequence[TargetNow]) -> dict[str, Prepared]:
        """Prepare targets; those whose content is missing are told to the next decision."""
        prepared, faulty = await self._preparer.prepare(targets)
        for fault in faulty:
            self._hands.give_up(fault)
        return prepared

    async def _prepare_candidates(self, draft: Draft, fenced: Mapping[str, int]) -> dict[str, Prepared]:
        """Prepare who may start now, and who starts again above a seal; others are left out of the draft."""
        onward, forward = ([], []) if self._draining else (draft.onward, draft.forward)
        asked = [*filter(self._bisection.has, (*onward, *forward)), *fenced]
        prepared = await self._prepare([draft.target(tenant) for tenant in asked])
        draft.onward = tuple(t for t in onward if t in prepared)
        draft.forward = tuple(t for t in forward if t in prepared)
        return prepared

    def _find_fault(self, tick: Tick, error: DataFaultError) -> None:
        """Halve what a refused transaction would have written; the target at fault, once alone, is told to the next decision."""
        log.error("a transaction was refused; looking for the row", rollout=self._memory.id, error=str(error))
        fault = self._bisection.refused(tick.tenants, error)
        if fault is None:
            return
        if fault.tenant in self._given_up:
            raise error  # not even that it is stuck can be written
        self._given_up.add(fault.tenant)
        tick.outcomes.clear()
        tick.fenced.clear()
        self._hands.give_up(fault)

    async def _commit(self, tick: Tick) -> bool:
        """Write one tick. False: commands came first, nothing was written, decide again."""
        issued, ended = {one.work.phase for one in tick.prepared.values()}, {done.phase for done in tick.done}
        if tick.prepared:
            fault_point("ledger:before-issue", issued)
        if tick.observed:
            fault_point("ledger:before-observe", ended)
        frozen, dispatched = self._memory.frozen, Dispatched()
        async with self._store.begin(self._lease) as tx:
            moved = [_seen(command) for command in tx.commands]
            if not moved:
                environment = self._memory.plan.environment
                await tx.observe(tick.observed, tick.done, app=self._loaded.app, environment=environment)
                frozen, dispatched = await self._write(tx, tick)
        self._clock = (tx.now, time.monotonic())
        if moved:
            self._commands += moved
            return False
        self._commands = []
        if tick.prepared:
            fault_point("ledger:after-issue", issued)
        if tick.observed:
            fault_point("ledger:after-observe", ended)
        if frozen.version != self._memory.frozen.version:
            self._wake.set()  # windows may have changed with it
        self._memory.frozen = frozen
        self._adopt(tick.draft)
        self._after_commit(tick, dispatched)
        return True

    async def _write(self, tx: EngineTransaction, tick: Tick) -> tuple[Frozen, Dispatched]:
        """The statements of one tick, budget rows last."""
        app, environment = self._loaded.app, self._memory.plan.environment
        draft, first = tick.draft, tick.first
        await tx.write(first, app=app, environment=environment)
        if _newly_ill(first):
            await self._dispatcher.judge_breakers(tx)
        for tenant, epoch in (await tx.raise_epochs(tick.fenced)).items():
            draft.put(replace(draft.target(tenant), epoch=epoch))
        if first.rollout is not None:
            await self._write_verdict(tx, draft)
        if self._commands:
            await tx.applied(self._commands[-1].seq)
        dispatched = await self._dispatcher.dispatch(tx, draft, tick.prepared)
        await tx.write(draft.take(), app=app, environment=environment)
        if counts := draft.counts():
            examples = {one.tenant for groups in counts.values() for one in groups}
            await tx.write_counts(counts, {tenant: draft.target(tenant).reason for tenant in examples})
        await tx.settle(dispatched.taken)
        return dispatched.frozen, dispatched

    async def _write_verdict(self, tx: EngineTransaction, draft: Draft) -> None:
        rollout, plan = draft.rollout, self._memory.plan
        if plan.kind != "deploy" or not self._loaded.release:
            return
        if rollout.hold and not self._memory.rollout.hold:
            await tx.hold(self._loaded.app, self._loaded.release, rollout.reason)
            draft.tell(
                "release-held", {"release": f"{self._loaded.app}/{self._loaded.release}", "reason": rollout.reason}
            )
        if rollout.state is RolloutState.SUCCEEDED:
            await tx.prove(self._loaded.app, self._loaded.release)

    def _after_commit(self, tick: Tick, dispatched: Dispatched) -> None:
        """Now that it is durable: send what was issued."""
        for old, new in tick.first.targets.values():
            if new.state is TargetState.FAILED and old.state is not TargetState.FAILED:
                self._hands.explain(new)
        self._hands.release_jobs(tick.done)
        for started in dispatched.started:
            self._hands.start(started.target, tick.prepared[started.target.tenant])
        for tenant in tick.fenced:
            if self._memory.targets[tenant].phase and tenant in tick.prepared:
                self._hands.start(self._memory.targets[tenant], tick.prepared[tenant], taken_over=True)

    def _adopt(self, draft: Draft) -> None:
        draft.adopt()
        for when, tenant in draft.timers():
            heapq.heappush(self._timers, (when, tenant))
        self._gatekeeper.keep()
        if self._memory.touched:
            self._wake.set()

    def _due(self, now: datetime) -> list[str]:
        """Tenants whose timer has come."""
        due: list[str] = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[1])
        return due

    async def _wait(self) -> None:
        """Sleep until something comes, a timer rings or the lease wants renewing; then a moment longer, to group."""
        if self._finished():
            return
        seconds = self._lease.renew_after - (time.monotonic() - self._lease.sent_at)
        openings = self._openings.seconds(self.now)
        if openings is not None:
            seconds = min(seconds, openings)
        if self._timers:
            seconds = min(seconds, (self._timers[0][0] - self.now).total_seconds())
        try:
            await asyncio.wait_for(self._wake.wait(), max(0.0, seconds))
            self._wake.clear()
            await asyncio.sleep(GROUP_SECONDS)
        except TimeoutError:
            self._wake.clear()

    def _renewal_due(self) -> bool:
        return time.monotonic() >= self._lease.sent_at + self._lease.renew_after - GROUP_SECONDS

    def _finished(self) -> bool:
        """Whether to let go: over, drained, or nothing to do for a while. Work in our hands is always finished first."""
        if self._hands.busy or self._hands.unwritten or self._commands:
            return False
        return self._draining or self._memory.rollout.state in ROLLOUT_OVER or self._later() is not None

    def _later(self) -> datetime | None:
        """When an idle rollout must be looked at again; None while it can move by itself."""
        rollout = self._memory.rollout
        if self._memory.touched or self._memory.in_flight or self._gatekeeper.busy:
            return None
        if rollout.state is RolloutState.PAUSED:
            return self.now + PAUSED_LOOK
        waits = rollout.state is RolloutState.PLANNED and rollout.not_before is not None
        if waits and rollout.not_before is not None and rollout.not_before > self.now + IDLE_AFTER:
            return rollout.not_before
        return None

    async def _put_down(self) -> None:
        later = self._later()
        if later is not None and self._memory.rollout.state not in ROLLOUT_OVER and not self._draining:
            async with self._store.begin(self._lease) as tx:
                if not tx.commands:
                    await tx.postpone(later)

    async def _watch_drain(self, draining: asyncio.Event) -> None:
        await draining.wait()
        self._draining = True
        self._wake.set()


async def drive(
    store: EngineStore,
    fleet: Fleet,
    lease: HeldLease,
    draining: asyncio.Event,
    gates: GatePorts,
    meters: Meters = SILENT,
) -> None:
    """Load a rollout and drive it; returns when it is over, waits for later, or the process drains."""
    fleet.on_timeline(lease.timeline)
    loaded = await store.load(lease)
    log.info("driving", rollout=loaded.memory.id, state=str(loaded.memory.rollout.state), epoch=lease.epoch)
    if loaded.open_phases:
        meters.taken_over()
    await Driver(store, fleet, lease, loaded, gates, meters).run(draining)


def _newly_ill(decision: Decision) -> bool:
    """Whether a target failed or fell ill: what may open a breaker."""
    return any(
        (new.state is TargetState.FAILED and old.state is not TargetState.FAILED)
        or (new.ill_since is not None and old.ill_since is None)
        for old, new in decision.targets.values()
    )


def _seen(command: CommandRow) -> CommandSeen:
    return CommandSeen(command.seq, command.command, command.body, command.actor)
