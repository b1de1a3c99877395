"""A driver's hands and eyes: effects running as tasks, looks at health, and what of them is not written yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from controlplane.domain.engine import Change, CommandSeen, EffectDone, Explained, Looked, Memory, TargetNow
from controlplane.domain.errors import SeawallError
from controlplane.domain.health import Health, Judgement, judge_all
from controlplane.domain.rollouts import TargetState
from controlplane.ports.clusters import Cluster, Fence, FencedError, NamespaceChange, ObjectRef
from controlplane.ports.engine import Observed
from controlplane.ports.leases import HeldLease, LeaseLostError
from controlplane.services.effects import Effects, Job, Outcome, insist
from controlplane.services.fleet import Fleet
from controlplane.services.preparing import Prepared

EXPLAIN_SECONDS = 2.0
CONCURRENCY = 32
"""Calls at once to all clusters, per rollout: the API server's own limits are lower."""

_LOOKED_AT = frozenset({TargetState.VERIFY, TargetState.SOAK, TargetState.ROLLING_BACK})

log = structlog.get_logger(__name__)


class Hands:
    """Runs effects and looks at the caches for one rollout."""

    def __init__(self, fleet: Fleet, memory: Memory, lease: HeldLease, wake: asyncio.Event) -> None:
        self._fleet = fleet
        self._memory = memory
        self._lease = lease
        self._wake = wake
        self._places = asyncio.Semaphore(CONCURRENCY)
        self._tasks: set[asyncio.Task[None]] = set()
        self._explaining: dict[str, asyncio.Task[None]] = {}
        self._arrived: list[Change] = []
        self._observed: list[Observed] = []
        self._done: list[EffectDone] = []
        self._changed: set[str] = set()
        self._jobs: dict[str, tuple[Cluster, TargetNow, Prepared]] = {}
        self._broken: BaseException | None = None
        self._by_namespace = {(t.cluster, t.namespace): t.tenant for t in memory.targets.values()}
        self._subscriptions: dict[str, Callable[[], None]] = {}

    @property
    def busy(self) -> bool:
        """Whether effects run."""
        return bool(self._tasks)

    @property
    def unwritten(self) -> bool:
        """Whether something came back that no transaction has written yet."""
        return bool(self._observed or self._done or self._arrived)

    def changes(self, now: datetime, due: Iterable[str]) -> list[Change]:
        """What came since the last call: effects that returned, and a look at each target that changed or whose timer rang."""
        if self._broken is not None:
            raise self._broken
        arrived, self._arrived = self._arrived, []
        tenants, self._changed = self._changed | set(due), set()
        looks = [self._look(self._memory.targets[tenant]) for tenant in sorted(tenants)]
        return [*arrived, *(look for look in looks if look is not None)]

    def give_back(self, changes: Sequence[Change]) -> None:
        """Keep changes that were not written after all; looks are taken afresh, commands are the driver's."""
        for change in changes:
            if isinstance(change, Looked):
                self._changed.add(change.tenant)
            elif not isinstance(change, CommandSeen):
                self._arrived.append(change)

    def take_unwritten(self) -> tuple[list[Observed], list[EffectDone]]:
        """Ledger rows and inventories to write with this tick."""
        taken = (self._observed, self._done)
        self._observed, self._done = [], []
        return taken

    def untake(self, observed: list[Observed], done: list[EffectDone]) -> None:
        """Put back what was not written after all."""
        self._observed = observed + self._observed
        self._done = done + self._done

    def start(
        self,
        target: TargetNow,
        prepared: Prepared,
        *,
        done: Mapping[int, Mapping[str, Any]] | None = None,
        taken_over: bool = False,
    ) -> None:
        """Begin a phase whose ledger rows are committed as ISSUED."""
        self._subscribe(target.cluster)
        job = self._run(target, prepared, done or {}, taken_over)
        task = asyncio.create_task(job, name=f"{target.phase} {target.tenant}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def release_jobs(self, done: Iterable[EffectDone]) -> None:
        """Take our finalizer off the Jobs whose outcome is now committed."""
        for one in done:
            held = self._jobs.pop(one.tenant, None) if one.phase == "migrate" else None
            if held is not None:
                task = asyncio.create_task(self._release_jobs(*held), name=f"release jobs of {one.tenant}")
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def explain(self, target: TargetNow) -> None:
        """Ask the cluster in its own words why a target failed, while what failed is still there to be seen."""
        self._explaining[target.tenant] = asyncio.create_task(self._explain(target))

    async def close(self) -> None:
        """Stop everything; what was sent is found again in the ledger by whoever comes next."""
        for end in self._subscriptions.values():
            end()
        tasks = [*self._tasks, *self._explaining.values()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, SeawallError):
                await task

    async def _run(
        self, target: TargetNow, prepared: Prepared, done: Mapping[int, Mapping[str, Any]], taken_over: bool
    ) -> None:
        cluster = await self._fleet.proven(target.cluster)
        if target.phase == "back":
            await self._wait_for_explanation(target.tenant)
        async with self._places:
            outcome = await self._carry_out(cluster, target, prepared, done, taken_over)
        self._observed += outcome.observed
        self._done.append(outcome.done)
        self._arrived.append(outcome.done)
        self._wake.set()
        if target.phase == "migrate":
            self._jobs[target.tenant] = (cluster, target, prepared)

    async def _carry_out(
        self,
        cluster: Cluster,
        target: TargetNow,
        prepared: Prepared,
        done: Mapping[int, Mapping[str, Any]],
        taken_over: bool,
    ) -> Outcome:
        view = cluster.namespace(target.namespace) or await cluster.read_namespace(target.namespace)
        fence = Fence(target.epoch, str(prepared.work.step_id), str(target.revision or ""))
        uid = view.uid if view else ""
        job = Job(target, prepared.work, fence, uid, prepared.new, prepared.base, done, taken_over)
        return await Effects(cluster, self._lease.may_issue).run(job)

    async def _release_jobs(self, cluster: Cluster, target: TargetNow, prepared: Prepared) -> None:
        fence = Fence(target.epoch, str(prepared.work.step_id))
        for item in prepared.work.items:
            if item.verb == "create" and self._lease.may_issue():
                ref = ObjectRef(item.api_version, item.kind, item.name)
                await insist(partial(cluster.release_finalizer, target.namespace, ref, fence), self._lease.may_issue)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            if not isinstance(error, LeaseLostError | FencedError):
                log.error("an effect ended with an unexpected error", task=task.get_name(), exc_info=error)
            self._broken = self._broken or error
            self._wake.set()

    async def _explain(self, target: TargetNow) -> None:
        cluster = self._fleet.peek(target.cluster)
        if cluster is None or not target.expected:
            return
        try:
            async with asyncio.timeout(EXPLAIN_SECONDS):
                words = await cluster.explain(target.namespace, [(e.kind, e.name) for e in target.expected])
        except (SeawallError, TimeoutError) as error:
            log.warning("could not ask the cluster why a target failed", tenant=target.tenant, error=str(error))
            return
        self._arrived.append(Explained(target.tenant, words))
        self._wake.set()

    async def _wait_for_explanation(self, tenant: str) -> None:
        task = self._explaining.get(tenant)
        if task is not None:
            await asyncio.wait([task])

    def _subscribe(self, name: str) -> None:
        cluster = self._fleet.peek(name)
        if name not in self._subscriptions and cluster is not None:
            self._subscriptions[name] = cluster.subscribe(self._heard)

    def _heard(self, change: NamespaceChange) -> None:
        if change.liveness:
            self._changed |= {
                t.tenant for t in self._memory.targets.values() if t.state in _LOOKED_AT and t.cluster == change.cluster
            }
        else:
            tenant = self._by_namespace.get((change.cluster, change.namespace))
            if tenant is None or self._memory.targets[tenant].state not in _LOOKED_AT:
                return
            self._changed.add(tenant)
        self._wake.set()

    def _look(self, target: TargetNow) -> Looked | None:
        if target.phase or target.state not in _LOOKED_AT:
            return None
        self._subscribe(target.cluster)
        cluster = self._fleet.peek(target.cluster)
        if cluster is None:
            return Looked(
                target.tenant, Judgement(Health.UNKNOWN, f"cluster {target.cluster} is not connected"), live=False
            )
        states = cluster.workloads(target.namespace)
        return Looked(target.tenant, judge_all(target.expected, states), cluster.live())
