"""Probes on the fleet: a Job through the same fence as every other write, and what its pod said when it ended."""

from __future__ import annotations

import asyncio

import structlog

from controlplane.domain.errors import SeawallError
from controlplane.domain.probes import Probed, ProbeSpec, message_of, numbers_of, probe_job, probe_name
from controlplane.ports.clusters import Cluster, Fence, NamespaceChange, ObjectRef
from controlplane.ports.probes import ProbePlace
from controlplane.services.fleet import Fleet

AT_ONCE = 8
"""Probes at once, of one process: they share the tenants' database servers."""
GRACE_SECONDS = 15.0
"""After a probe's own deadline, for the cluster to say so."""
READS = 20
READ_SECONDS = 0.25

log = structlog.get_logger(__name__)


class FleetProbes:
    """See `controlplane.ports.probes.Probes`."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self, name: str, spec: ProbeSpec, place: ProbePlace) -> Probed:
        """Create the Job (or find the one that an earlier worker created for this step), wait for its end, read, remove it."""
        cluster = self._fleet.peek(place.cluster)
        if cluster is None or not cluster.live():
            return Probed(error=f"cluster {place.cluster} is not reachable now")
        try:
            async with self._places, asyncio.timeout(spec.deadline.total_seconds() + GRACE_SECONDS):
                return await _run(cluster, name, spec, place)
        except SeawallError as error:
            return Probed(error=f"{error.code}: {error.detail}")
        except TimeoutError:
            return Probed(error="it did not end within its deadline")


async def _run(cluster: Cluster, name: str, spec: ProbeSpec, place: ProbePlace) -> Probed:
    job_name, fence = probe_name(name, place.step), Fence(place.epoch, place.step)
    manifest = probe_job(spec, job_name, place.step, place.tenant, place.environment, place.priority)
    created = await cluster.create(place.namespace, manifest, fence)
    ref = ObjectRef("batch/v1", "Job", job_name, created.ref.uid)
    try:
        failed = await _ended(cluster, place.namespace, job_name, ref.uid)
        if failed:
            return Probed(error=f"its Job failed: {failed}")
        return await _answer(cluster, place.namespace, job_name)
    finally:
        await _remove(cluster, place.namespace, ref, fence)


async def _ended(cluster: Cluster, namespace: str, name: str, uid: str) -> str:
    """Wait for the Job's end, as the cached watch tells it; why it failed, or an empty text."""
    changed = asyncio.Event()

    def heard(change: NamespaceChange) -> None:
        if change.namespace == namespace or change.liveness:
            changed.set()

    end = cluster.subscribe(heard)
    try:
        while True:
            changed.clear()
            state = cluster.workloads(namespace).get(("Job", name))
            if state is not None and state.uid == uid and (state.failed or state.succeeded):
                return state.failed
            await changed.wait()
    finally:
        end()


async def _answer(cluster: Cluster, namespace: str, job: str) -> Probed:
    """What its pod said; the pod's status may trail the Job's by a moment."""
    for left in reversed(range(READS)):
        message = message_of(await cluster.list_objects(namespace, [("v1", "Pod")]), job)
        if message is not None:
            try:
                return Probed(numbers=numbers_of(message))
            except ValueError as error:
                return Probed(error=f"its answer can't be used: {error}")
        if left:
            await asyncio.sleep(READ_SECONDS)
    return Probed(error="it ended and said nothing")


async def _remove(cluster: Cluster, namespace: str, ref: ObjectRef, fence: Fence) -> None:
    """Take the Job away; one that stays is found by the next probe of this step, or by whoever takes the environment."""
    try:
        await cluster.delete(namespace, ref, fence)
    except SeawallError as error:
        log.warning("a probe's Job could not be removed", namespace=namespace, job=ref.name, code=error.code)
