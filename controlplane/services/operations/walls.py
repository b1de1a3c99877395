"""The stage `walls`: namespace, seal and wall objects of many environments at once, through the step ledger.

Per chunk of items: one transaction takes slots and writes every step as ISSUED, then the calls are made, then one
transaction writes what was observed. A predecessor's steps that nobody observed were closed at takeover; all of them are
safe to repeat: the Namespace carries the operation's id, and each apply carries the new epoch.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain.adoption import differences
from controlplane.domain.errors import ConflictError, SeawallError
from controlplane.domain.manifests import Manifest
from controlplane.domain.names import INSTALLATION_ANNOTATION
from controlplane.domain.operations import ItemState
from controlplane.domain.priorities import class_name, priority_class
from controlplane.domain.tiers import ClusterSpec
from controlplane.domain.walls_objects import (
    Place,
    namespace_annotations,
    namespace_labels,
    wall_objects,
    walls_hash,
)
from controlplane.ports.clusters import AlreadyExistsError, Cluster, Fence, FencedError, NamespaceView, ObjectRef
from controlplane.ports.faults import fault_point
from controlplane.ports.stores.operations import Item, NewStep, StepOutcome, TakenEnvironment
from controlplane.ports.uow import UnitOfWork
from controlplane.services.operations.run import CHUNK, CHUNKS_AT_ONCE, Run

SLOT_TAKEN = "Another change holds this environment; the walls follow when it is over."


@dataclass
class WallJob:
    """The walls of one item in this attempt. `outcomes` collects one entry per step."""

    item: Item
    place: TakenEnvironment
    step_id: uuid.UUID
    objects: tuple[Manifest, ...]
    labels: Mapping[str, str]
    priority: Manifest | None = None
    uid: str = ""
    error: SeawallError | None = None
    outcomes: list[StepOutcome] = field(default_factory=list)

    @property
    def fence(self) -> Fence:
        """The right to write."""
        return Fence(self.place.epoch, str(self.step_id))

    def steps(self) -> list[NewStep]:
        """The ledger rows: the Namespace, then each object."""
        at = self.place
        known = bool(at.uid)
        first = NewStep(
            self.step_id,
            0,
            at.tenant,
            at.environment,
            "walls",
            "seal" if known else "create",
            at.epoch,
            "v1",
            "Namespace",
            at.namespace,
            "cluster" if known else "name",
        )
        rest = [
            NewStep(
                self.step_id,
                n,
                at.tenant,
                at.environment,
                "walls",
                "apply",
                at.epoch,
                item["apiVersion"],
                item["kind"],
                item["metadata"]["name"],
            )
            for n, item in enumerate(self.objects, start=1)
        ]
        return [first, *rest, *self._priority_step()]

    def _priority_step(self) -> list[NewStep]:
        if self.priority is None:
            return []
        at, name, n = self.place, self.priority["metadata"]["name"], len(self.objects) + 1
        ids = (self.step_id, n, at.tenant, at.environment, "walls", "create", at.epoch)
        return [NewStep(*ids, self.priority["apiVersion"], "PriorityClass", name, "name")]

    def note(self, ordinal: int, outcome: str, result: Mapping[str, Any] | None = None) -> None:
        """Remember what came of one step."""
        self.outcomes.append(StepOutcome(self.step_id, ordinal, outcome, result or {}))


async def raise_walls(run: Run, items: Sequence[Item]) -> None:
    """Carry out the stage for these items; each is then in the next stage, waiting, or failed."""
    chunks = [items[n : n + CHUNK] for n in range(0, len(items), CHUNK)]
    gate = asyncio.Semaphore(CHUNKS_AT_ONCE)

    async def one(chunk: Sequence[Item]) -> None:
        async with gate:
            if not run.stopping:
                await _chunk(run, chunk)

    async with asyncio.TaskGroup() as group:
        for chunk in chunks:
            group.create_task(one(chunk))


async def _chunk(run: Run, items: Sequence[Item]) -> None:
    fault_point("operation:before-issue")
    jobs = await _issue(run, items)
    if run.called_off:
        return
    fault_point("operation:after-issue")
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(_build(run, job))
    await _observe(run, jobs)
    fault_point("operation:after-observe")


async def _issue(run: Run, items: Sequence[Item]) -> list[WallJob]:
    by_place = {(item.tenant, item.environment): item for item in items}
    async with run.transaction() as uow:
        if run.called_off:
            return []
        taken = await uow.operations.take_slots(run.operation.id, list(by_place))
        jobs = [_job(run, by_place[place.tenant, place.environment], place, uow) for place in taken]
        got = {id(job.item) for job in jobs}
        for item in items:
            if id(item) in got:
                run.move(item, ItemState.RUNNING, "walls")
            else:
                run.wait(item, "slot", SLOT_TAKEN, now=uow.now)
        await uow.operations.issue(run.operation.id, [step for job in jobs for step in job.steps()])
        await uow.operations.save_items(run.operation.id, items)
    return jobs


def _job(run: Run, item: Item, place: TakenEnvironment, uow: UnitOfWork) -> WallJob:
    where = Place(place.tenant, place.environment, place.namespace)
    tier = run.tiers[run.specs[place.tenant].tier]
    cluster = run.clusters.get(place.cluster) or ClusterSpec()
    objects = wall_objects(where, tier, cluster, _classes(run, place))
    priority = priority_class(run.specs[place.tenant].tier, tier)
    return WallJob(item, place, uow.new_id(), objects, namespace_labels(where), priority)


def _classes(run: Run, place: TakenEnvironment) -> list[str]:
    """The PriorityClasses that pods may have: the tier's, and the one from before, which pods carry until the next rollout."""
    tier = run.specs[place.tenant].tier
    walls = run.environments[place.tenant, place.environment].walls
    before = walls.get("classes", []) if walls.get("tier") == tier else [walls.get("priority")]
    return sorted({name for name in (class_name(tier, run.tiers[tier]), *before) if name})


async def _build(run: Run, job: WallJob) -> None:
    """Make the namespace ours, then apply the walls one after the other: many tenants go side by side, and an API server whose
    caches don't have a Namespace yet looks it up in etcd for every object that comes at once.
    """
    try:
        cluster = await run.cluster(job.place.cluster)
        view = await _namespace(run, cluster, job)
        job.uid = view.uid
        job.note(0, "ok", {"uid": view.uid})
    except SeawallError as error:
        job.error = error
        job.note(0, "failed", {"code": error.code})
        for step in job.steps()[1:]:
            job.note(step.ordinal, "skipped")
        return
    if job.priority is not None:
        await _give_class(run, cluster, job, job.priority)
    for n, manifest in enumerate(job.objects, start=1):
        await _apply(run, cluster, job, n, manifest)


async def _give_class(run: Run, cluster: Cluster, job: WallJob, manifest: Manifest) -> None:
    """See that the tier's PriorityClass is there; once for each cluster and driver."""
    ordinal, key = len(job.objects) + 1, (job.place.cluster, manifest["metadata"]["name"])
    try:
        if key not in run.classes:
            await run.call(lambda: cluster.ensure_priority_class(manifest))
            run.classes.add(key)
        job.note(ordinal, "ok")
    except SeawallError as error:
        job.error = job.error or error
        job.note(ordinal, "failed", {"code": error.code})


async def _apply(run: Run, cluster: Cluster, job: WallJob, ordinal: int, manifest: Manifest) -> None:
    try:
        await run.call(lambda: cluster.apply(job.place.namespace, manifest, job.fence, "platform"))
        job.note(ordinal, "ok")
    except SeawallError as error:
        job.error = job.error or error
        job.note(ordinal, "failed", {"code": error.code})


async def _namespace(run: Run, cluster: Cluster, job: WallJob) -> NamespaceView:
    """Create the Namespace, or take the one we know; it then carries our epoch and labels."""
    at = job.place
    if at.uid:
        return await run.call(lambda: cluster.seal(at.namespace, at.uid or "", job.fence, job.labels))
    creator = str(job.item.spec.get("creator") or run.operation.id)
    annotations = namespace_annotations(str(run.installation), creator, at.epoch)
    try:
        view = await run.call(lambda: cluster.create_namespace(at.namespace, job.labels, annotations))
    except AlreadyExistsError:
        view = await _adopt(run, cluster, job)
    if view.terminating:
        detail = f"Namespace {at.namespace} is being deleted. It is created anew once it is gone."
        raise ConflictError(detail, code="namespace-terminating")
    if view.epoch == at.epoch:
        return view
    return await run.call(lambda: cluster.seal(at.namespace, view.uid, job.fence, job.labels))


async def _adopt(run: Run, cluster: Cluster, job: WallJob) -> NamespaceView:
    """Somebody else's namespace has the name: refuse it, or take it over if it is what we would have made."""
    at = job.place
    view = await run.call(lambda: cluster.read_namespace(at.namespace))
    if view is None or view.terminating:
        raise ConflictError(
            f"Namespace {at.namespace} is just going away. It is tried again.", code="namespace-terminating"
        )
    other = view.annotations.get(INSTALLATION_ANNOTATION)
    if run.specs[at.tenant].adopt != "if-identical" or other not in (None, str(run.installation)):
        raise _foreign(at, other, str(run.installation))
    found = [d for one in job.objects for d in differences(_content(one), await _read(run, cluster, at, one))]
    if found:
        detail = f"Namespace {at.namespace} differs from the walls in {len(found)} places, first {found[0]}."
        raise ConflictError(f"{detail} Make it equal, or onboard with adopt: observe.", code="namespace-not-identical")
    return view


def _content(manifest: Manifest) -> Manifest:
    """What must be equal before anything of ours is written: all but our marks, which nobody else can set."""
    return {**manifest, "metadata": {"name": manifest["metadata"]["name"]}}


async def _read(run: Run, cluster: Cluster, at: TakenEnvironment, manifest: Manifest) -> Manifest | None:
    ref = ObjectRef(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
    return await run.call(lambda: cluster.get(at.namespace, ref))


def _foreign(at: TakenEnvironment, installation: str | None, ours: str) -> ConflictError:
    if installation == ours:
        return ConflictError(
            f"Namespace {at.namespace} exists on cluster {at.cluster} and this Seawall made it for a tenant that the registry has "
            "lost (a restored backup?); nothing was written to it. Onboard with adopt: if-identical to take it back.",
            code="namespace-lost",
        )
    whose = "another Seawall's" if installation else "not Seawall's"
    return ConflictError(
        f"Namespace {at.namespace} exists on cluster {at.cluster} and is {whose}; nothing was written to it. "
        "Onboard with adopt: observe to see what is in it, or choose another name.",
        code="namespace-foreign",
    )


async def _observe(run: Run, jobs: Sequence[WallJob]) -> None:
    """Write what came of a chunk, give the slots back, and move the items on."""
    fences = await _fences_of(run, jobs)
    for job in jobs:
        if job.error is not None:
            run.settle(job.item, job.error)
        else:
            _done(run, job.item)
    async with run.transaction() as uow:
        await uow.operations.observe(run.operation.id, [o for job in jobs for o in job.outcomes])
        walls = [(j.place.tenant, j.place.environment, j.uid, _walls(run, j)) for j in jobs if j.error is None]
        await uow.operations.set_walls(walls)
        if fences:
            await uow.operations.raise_epochs(fences)
        await uow.operations.free_slots(run.operation.id, [(j.place.tenant, j.place.environment) for j in jobs])
        await uow.operations.save_items(run.operation.id, [job.item for job in jobs])


def _done(run: Run, item: Item) -> None:
    item.memory.pop("tries", None)
    if run.specs[item.tenant].apps and not item.spec.get("wallsOnly"):
        run.move(item, ItemState.RUNNING, "install")
    else:
        run.move(item, ItemState.SUCCEEDED, "done")


def _walls(run: Run, job: WallJob) -> dict[str, Any]:
    tier = run.specs[job.place.tenant].tier
    digest = walls_hash(job.objects, job.labels)
    kept: dict[str, Any] = {
        "tier": tier,
        "tierDigest": run.tier_digest(tier),
        "hash": digest,
    }
    classes = _classes(run, job.place)
    return {**kept, "priority": class_name(tier, run.tiers[tier]), "classes": classes} if classes else kept


async def _fences_of(run: Run, jobs: Sequence[WallJob]) -> dict[tuple[str, str], int]:
    """The fences found in the world by jobs that were refused: the registry went back, the next try goes above them."""
    found: dict[tuple[str, str], int] = {}
    for job in jobs:
        if isinstance(job.error, FencedError):
            cluster = await run.cluster(job.place.cluster)
            view = await run.call(lambda c=cluster, j=job: c.read_namespace(j.place.namespace))  # type: ignore[misc]
            if view is not None:
                found[job.place.tenant, job.place.environment] = view.epoch
    return found
