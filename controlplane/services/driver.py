"""The driver of one rollout: a snapshot in memory, one transaction per tick, effects beside it.

One loop: hear what changed, decide (pure), write in one transaction under the lease, and only after its commit adopt the
decision and send what it issued. After a commit that failed or whose outcome is unknown the driver ends; whoever takes
the lease next, perhaps this very process, loads afresh.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from controlplane.domain.decide import decide
from controlplane.domain.draft import Draft
from controlplane.domain.engine import Change, CommandSeen, Decision, EffectDone, Frozen, Memory
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState, TargetState
from controlplane.ports.engine import EngineStore, EngineTransaction, Loaded
from controlplane.ports.faults import fault_point
from controlplane.ports.leases import CommandRow, HeldLease
from controlplane.services.dispatching import Dispatched, Dispatcher
from controlplane.services.fleet import Fleet
from controlplane.services.hands import Hands
from controlplane.services.preparing import Prepared, Preparer

GROUP_SECONDS = 0.01
"""How long a tick waits for more to come after the first thing did: the group commit."""
IDLE_AFTER = timedelta(seconds=5)
"""A rollout that can't move before then is let go, to be woken by its `due_at`."""
THAW_SECONDS = 1.0
PAUSED_LOOK = timedelta(hours=1)

log = structlog.get_logger(__name__)


class Driver:
    """Drives one rollout under one lease."""

    def __init__(self, store: EngineStore, fleet: Fleet, lease: HeldLease, loaded: Loaded) -> None:
        self._store = store
        self._lease = lease
        self._loaded = loaded
        self._memory: Memory = loaded.memory
        self._wake = asyncio.Event()
        self._timers: list[tuple[datetime, str]] = []
        self._clock = (loaded.now, time.monotonic())
        self._commands = [_seen(command) for command in loaded.commands]
        self._preparer = Preparer(store, loaded.memory.id, loaded.app)
        self._hands = Hands(fleet, loaded.memory, self._lease, self._wake)
        self._dispatcher = Dispatcher(fleet, loaded)
        self._draining = False
        self._thaw_at = 0.0

    @property
    def now(self) -> datetime:
        """The database's clock, carried on by our monotonic one since the last transaction: our wall clock may jump."""
        then, at = self._clock
        return then + timedelta(seconds=time.monotonic() - at)

    async def run(self, draining: asyncio.Event) -> None:
        """Drive until the rollout is over, can't move for a while, or the process drains."""
        stop = asyncio.create_task(self._watch_drain(draining))
        try:
            await self._resume()
            while not self._finished():
                await self._thaw()
                await self._tick()
                await self._wait()
        finally:
            stop.cancel()
            await self._hands.close()
        await self._put_down()

    async def _resume(self) -> None:
        """Take up the work a predecessor issued: the same steps, under our higher epochs."""
        targets = [self._memory.targets[one.tenant] for one in self._loaded.open_phases]
        prepared = await self._preparer.prepare(targets)
        for one in self._loaded.open_phases:
            self._hands.start(self._memory.targets[one.tenant], prepared[one.tenant], done=one.done, taken_over=True)
        for target in self._memory.targets.values():
            if target.state in (TargetState.VERIFY, TargetState.SOAK, TargetState.ROLLING_BACK):
                heapq.heappush(self._timers, (self.now, target.tenant))

    async def _thaw(self) -> None:
        """While something is frozen nothing forward is tried, so ask once a second whether it still is."""
        frozen = self._memory.frozen
        if not (frozen.all_reason or frozen.tenants) or time.monotonic() < self._thaw_at:
            return
        self._thaw_at = time.monotonic() + THAW_SECONDS
        self._memory.frozen = await self._store.frozen(
            frozen, list(self._memory.targets), self._memory.plan.environment
        )

    async def _tick(self) -> None:
        """One pass: changes in, decision, transaction, then adopt and send."""
        now = self.now
        changes: list[Change] = [*self._commands, *self._hands.changes(now, self._due(now))]
        draft = decide(self._memory, changes, now)
        if self._draining:
            draft.onward, draft.forward = (), ()
        candidates = [draft.target(tenant) for tenant in (*draft.onward, *draft.forward)]
        prepared = await self._preparer.prepare(candidates)
        first = draft.take()
        if first.empty and not candidates and not self._hands.unwritten and not self._renewal_due():
            self._adopt(draft)
            return
        if not await self._commit(draft, first, prepared):
            self._hands.give_back(changes)
            self._wake.set()

    async def _commit(self, draft: Draft, first: Decision, prepared: dict[str, Prepared]) -> bool:
        """Write one tick. False: commands came first, nothing was written, decide again."""
        if prepared:
            fault_point("ledger:before-issue")
        observed, done = self._hands.take_unwritten()
        if observed:
            fault_point("ledger:before-observe")
        frozen, dispatched = self._memory.frozen, Dispatched()
        async with self._store.begin(self._lease) as tx:
            moved = [_seen(command) for command in tx.commands]
            if not moved:
                await tx.observe(observed, done, app=self._loaded.app, environment=self._memory.plan.environment)
                frozen, dispatched = await self._write(tx, draft, first, prepared)
        self._clock = (tx.now, time.monotonic())
        if moved:
            self._hands.untake(observed, done)
            self._commands += moved
            return False
        self._commands = []
        if prepared:
            fault_point("ledger:after-issue")
        if observed:
            fault_point("ledger:after-observe")
        self._memory.frozen = frozen
        self._adopt(draft)
        self._after_commit(first, dispatched, prepared, done)
        return True

    async def _write(
        self, tx: EngineTransaction, draft: Draft, first: Decision, prepared: dict[str, Prepared]
    ) -> tuple[Frozen, Dispatched]:
        """The statements of one tick, budget rows last."""
        app, environment = self._loaded.app, self._memory.plan.environment
        await tx.write(first, app=app, environment=environment)
        if first.rollout is not None:
            await self._write_verdict(tx, draft)
        if self._commands:
            await tx.applied(self._commands[-1].seq)
        dispatched = await self._dispatcher.dispatch(tx, draft, prepared)
        await tx.write(draft.take(), app=app, environment=environment)
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

    def _after_commit(
        self, first: Decision, dispatched: Dispatched, prepared: dict[str, Prepared], done: Sequence[EffectDone]
    ) -> None:
        """Now that it is durable: send what was issued."""
        for old, new in first.targets.values():
            if new.state is TargetState.FAILED and old.state is not TargetState.FAILED:
                self._hands.explain(new)
        self._hands.release_jobs(done)
        for started in dispatched.started:
            self._hands.start(started.target, prepared[started.target.tenant])

    def _adopt(self, draft: Draft) -> None:
        draft.adopt()
        for when, tenant in draft.timers():
            heapq.heappush(self._timers, (when, tenant))
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
        if self._memory.frozen.all_reason or self._memory.frozen.tenants:
            seconds = min(seconds, THAW_SECONDS)
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
        if self._memory.touched or self._memory.in_flight:
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


async def drive(store: EngineStore, fleet: Fleet, lease: HeldLease, draining: asyncio.Event) -> None:
    """Load a rollout and drive it; returns when it is over, waits for later, or the process drains."""
    loaded = await store.load(lease)
    log.info("driving", rollout=loaded.memory.id, state=str(loaded.memory.rollout.state), epoch=lease.epoch)
    await Driver(store, fleet, lease, loaded).run(draining)


def _seen(command: CommandRow) -> CommandSeen:
    return CommandSeen(command.seq, command.command, command.body, command.actor)
