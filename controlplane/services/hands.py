"""A driver's hands and eyes: effects running as tasks, looks at health, and what of them is not written yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from controlplane.domain.apps import Dependency
from controlplane.domain.engine import Change, CommandSeen, EffectDone, Explained, Faulty, Looked, Memory, TargetNow
from controlplane.domain.errors import SeawallError
from controlplane.domain.gating import GateJudged
from controlplane.domain.health import Health, Judgement, judge_all
from controlplane.domain.progress import can_wait, may_be_blamed
from controlplane.domain.rollouts import TargetState
from controlplane.domain.work import DeliveryKind
from controlplane.ports.clusters import Cluster, Fence, FencedError, NamespaceChange, ObjectRef
from controlplane.ports.delivery import Job, Outcome
from controlplane.ports.engine import EndedJob
from controlplane.ports.faults import fault_point
from controlplane.ports.leases import HeldLease, LeaseLostError
from controlplane.ports.meters import SILENT, Meters
from controlplane.services.circumstances import Surveyor
from controlplane.services.delivery import Deliverer
from controlplane.services.docket import Docket
from controlplane.services.effects import insist
from controlplane.services.fleet import Fleet
from controlplane.services.nudges import Nudges
from controlplane.services.preparing import Prepared

EXPLAIN_SECONDS = 2.0
CONCURRENCY = 32
"""Calls at once to all clusters, per rollout: the API server's own limits are lower."""

_LOOKED_AT = frozenset({TargetState.VERIFY, TargetState.SOAK, TargetState.ROLLING_BACK})

log = structlog.get_logger(__name__)


class Hands:
    """Runs effects and looks at the caches for one rollout."""

    def __init__(
        self,
        fleet: Fleet,
        memory: Memory,
        lease: HeldLease,
        wake: asyncio.Event,
        *,
        delivery: DeliveryKind = "apply",
        dependencies: Sequence[Dependency] = (),
        docket: Docket,
        meters: Meters = SILENT,
    ) -> None:
        self._fleet = fleet
        self._memory = memory
        self._lease = lease
        self._deliverer = Deliverer(memory.id, lease.may_issue, delivery, meters)
        self._nudges = Nudges(wake)
        self._places = asyncio.Semaphore(CONCURRENCY)
        self._tasks: set[asyncio.Task[None]] = set()
        self._explaining: dict[str, asyncio.Task[None]] = {}
        self._arrived: list[Change] = []
        self._outcomes: list[Outcome] = []
        self._changed: set[str] = set()
        self._jobs: dict[str, tuple[Cluster, TargetNow, Prepared]] = {}
        self._broken: BaseException | None = None
        self._fenced: dict[str, int] = {}
        self._by_namespace = {(t.cluster, t.namespace): t.tenant for t in memory.targets.values()}
        self._subscriptions: dict[str, Callable[[], None]] = {}
        self._surveyor = Surveyor(memory, dependencies, docket, self.look_again)

    @property
    def busy(self) -> bool:
        """Whether effects run."""
        return bool(self._tasks)

    @property
    def unwritten(self) -> bool:
        """Whether something came back that no transaction has written yet."""
        return bool(self._outcomes or self._arrived or self._fenced)

    def changes(self, now: datetime, due: Iterable[str]) -> list[Change]:
        """What came since the last call: effects that returned, and a look at each target that changed or whose timer rang."""
        if self._broken is not None:
            raise self._broken
        self._nudges.taken()
        arrived, self._arrived = self._arrived, []
        tenants, self._changed = self._changed | set(due), set()
        looks = [self._look(self._memory.targets[tenant], now) for tenant in sorted(tenants)]
        return [*arrived, *(look for look in looks if look is not None)]

    def give_back(self, changes: Sequence[Change]) -> None:
        """Keep changes that were not written after all; looks are taken afresh, commands are the driver's."""
        for change in changes:
            if isinstance(change, Looked):
                self._changed.add(change.tenant)
            elif not isinstance(change, CommandSeen | GateJudged):
                self._arrived.append(change)

    def take_unwritten(self, wanted: Callable[[str], bool]) -> list[Outcome]:
        """Ledger rows and inventories to write with this tick, of the tenants that it takes."""
        taken = [outcome for outcome in self._outcomes if wanted(outcome.done.tenant)]
        self._outcomes = [outcome for outcome in self._outcomes if not wanted(outcome.done.tenant)]
        return taken

    def untake(self, outcomes: list[Outcome]) -> None:
        """Put back what was not written after all."""
        self._outcomes = outcomes + self._outcomes

    def give_up(self, fault: Faulty) -> None:
        """Tell of a target whose rows can't be used; what it did is in the cluster, and stays ISSUED in the ledger."""
        self._outcomes = [outcome for outcome in self._outcomes if outcome.done.tenant != fault.tenant]
        arrived = [
            change
            for change in self._arrived
            if isinstance(change, CommandSeen | GateJudged) or change.tenant != fault.tenant
        ]
        self._arrived = [*arrived, fault]
        self._nudges.now()

    def take_fenced(self) -> dict[str, int]:
        """Tenants whose work was refused by a higher seal than the registry knows, with that seal: start them again above it."""
        taken, self._fenced = self._fenced, {}
        return taken

    def give_back_fenced(self, fenced: Mapping[str, int]) -> None:
        """Keep refusals that were not dealt with after all."""
        self._fenced = {**fenced, **self._fenced}

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

    def release_ended(self, jobs: Iterable[EndedJob]) -> None:
        """Take our finalizer off Jobs whose outcome a predecessor committed, if it had no time to; nothing to do if it had."""
        for job in jobs:
            task = asyncio.create_task(self._release_ended(job), name=f"release job {job.name} of {job.tenant}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def explain(self, target: TargetNow) -> None:
        """Ask the cluster in its own words why a target failed, while what failed is still there to be seen."""
        self._explaining[target.tenant] = asyncio.create_task(self._explain(target))

    def look_again(self, tenant: str) -> None:
        """Look at a target afresh: what surrounds it, or who is to blame for it, is known now."""
        self._changed.add(tenant)
        self._nudges.now()

    async def close(self) -> None:
        """Stop everything; what was sent is found again in the ledger by whoever comes next."""
        for end in self._subscriptions.values():
            end()
        self._nudges.close()
        await self._surveyor.close()
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
        overtaken = self._overtaken(target)
        if overtaken is not None:
            self.give_up(overtaken)
            return
        if target.phase == "back":
            await self._wait_for_explanation(target.tenant)
        async with self._places:
            try:
                outcome = await self._carry_out(cluster, target, prepared, done, taken_over)
            except FencedError as error:
                await self._note_seal(cluster, target, error)
                return
        self._outcomes.append(outcome)
        self._arrived.append(outcome.done)
        self._nudges.now()
        if target.phase == "migrate":
            self._jobs[target.tenant] = (cluster, target, prepared)

    async def _note_seal(self, cluster: Cluster, target: TargetNow, error: FencedError) -> None:
        """Read how high the seal is. Whether we may go above it is for the next transaction to say: a zombie has lost its lease."""
        view = await insist(partial(cluster.read_namespace, target.namespace), self._lease.may_issue)
        seal = view.epoch if view else 0
        log.warning(
            "refused by a seal the registry does not know", tenant=target.tenant, seal=seal, detail=error.detail
        )
        self._fenced[target.tenant] = seal
        self._nudges.now()

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
        return await self._deliverer.run(cluster, job)

    async def _release_jobs(self, cluster: Cluster, target: TargetNow, prepared: Prepared) -> None:
        for item in prepared.work.items:
            if item.verb == "create":
                ref = ObjectRef(item.api_version, item.kind, item.name)
                await self._release(cluster, target, ref, prepared.work.step_id)

    async def _release_ended(self, job: EndedJob) -> None:
        target = self._memory.targets[job.tenant]
        cluster = await self._fleet.proven(target.cluster)
        async with self._places:
            await self._release(cluster, target, ObjectRef(job.api_version, job.kind, job.name), job.step_id)

    async def _release(self, cluster: Cluster, target: TargetNow, ref: ObjectRef, step_id: UUID) -> None:
        """The apply that follows may have sealed a higher epoch meanwhile: then again, with that one."""
        tried = -1
        while self._lease.may_issue() and (epoch := self._memory.targets[target.tenant].epoch) > tried:
            tried = epoch
            release = partial(cluster.release_finalizer, target.namespace, ref, Fence(epoch, str(step_id)))
            with contextlib.suppress(FencedError):
                fault_point("effect:before", ("release",))
                await insist(release, self._lease.may_issue)
                fault_point("effect:after", ("release",))
                return

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            if not isinstance(error, LeaseLostError | FencedError):
                log.error("an effect ended with an unexpected error", task=task.get_name(), exc_info=error)
            self._broken = self._broken or error
            self._nudges.now()

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
        self._nudges.now()

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
            target = self._memory.targets[tenant] if tenant is not None else None
            if target is None or target.state not in _LOOKED_AT:
                return
            self._changed.add(target.tenant)
            if self._decides_nothing(target):
                self._nudges.soon()
                return
        self._nudges.now()

    def _decides_nothing(self, target: TargetNow) -> bool:
        cluster = self._fleet.peek(target.cluster)
        return cluster is not None and can_wait(target, judge_all(target.expected, cluster.workloads(target.namespace)))

    def _overtaken(self, target: TargetNow) -> Faulty | None:
        """A change that the registry lost came after this one: going on would write the older over the newer."""
        found = self._fleet.overtaken(target.cluster, target.namespace)
        if found is None or target.revision is None or target.revision >= found.revision:
            return None
        return Faulty(target.tenant, "registry-went-back", found.reason)

    def _look(self, target: TargetNow, now: datetime) -> Change | None:
        if target.phase or target.state not in _LOOKED_AT:
            return None
        if (overtaken := self._overtaken(target)) is not None:
            return overtaken
        self._subscribe(target.cluster)
        cluster = self._fleet.peek(target.cluster)
        if cluster is None:
            return Looked(
                target.tenant, Judgement(Health.UNKNOWN, f"cluster {target.cluster} is not connected"), live=False
            )
        states = cluster.workloads(target.namespace)
        look = Looked(target.tenant, judge_all(target.expected, states), cluster.live())
        if not may_be_blamed(self._memory.plan, target, look, now):
            return look
        return replace(look, excuse=self._surveyor.excuse(cluster, target))
