"""The delivery `apply`: one phase of one target against its cluster, item by item, each under its fence.

What the world answers is sorted by who must act: the release's fault ends the phase as `failed`; a full quota or a
namespace that went away as `quota` or `gone`; a cluster that does not answer is asked again for as long as the lease lasts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import stamina

from controlplane.domain.engine import EffectDone, Phase
from controlplane.domain.errors import ConflictError
from controlplane.domain.health import Expected, ill_of, without_older_failures
from controlplane.domain.manifests import key_of
from controlplane.domain.names import CONTENT_ANNOTATION
from controlplane.domain.work import JUDGED, WorkItem
from controlplane.ports.clusters import (
    AlreadyExistsError,
    Cluster,
    ClusterUnavailableError,
    NamespaceChange,
    NamespaceGoneError,
    ObjectRef,
    QuotaExceededError,
    RejectedError,
)
from controlplane.ports.delivery import Job, Outcome
from controlplane.ports.engine import Observed
from controlplane.ports.faults import fault_point
from controlplane.ports.leases import LeaseLostError

SECOND_LOOK_SECONDS = 5.0
"""After a takeover a stale write may still land within the admission cache's lag; then we look once more."""


class Effects:
    """See `controlplane.ports.delivery.Delivery`. `may_issue` is asked before every call: False once the lease's margin is reached."""

    def __init__(self, cluster: Cluster, may_issue: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._may_issue = may_issue

    async def run(self, job: Job) -> Outcome:
        """Carry out a phase; raises `FencedError` and `LeaseLostError` for the driver, never the cluster's own errors."""
        results: dict[int, Mapping[str, Any]] = dict(job.done)
        ill_before = ill_of(self._cluster.workloads(job.target.namespace))
        outcome, code, reason = await self._items(job, results)
        if outcome == "ok" and job.taken_over:
            await self._second_look(job, results)
        observed = [
            _observed(job, ordinal, results, outcome, reason)
            for ordinal in range(len(job.work.items))
            if ordinal not in job.done
        ]
        done = self._done(job, results, outcome, code, reason)
        return Outcome(tuple(observed), replace(done, expected=without_older_failures(done.expected, ill_before)))

    async def _items(self, job: Job, results: dict[int, Mapping[str, Any]]) -> tuple[str, str, str]:
        for ordinal, item in enumerate(job.work.items):
            if ordinal in results and item.verb != "seal":
                continue
            try:
                results[ordinal] = await self._insist(job, item)
            except QuotaExceededError as error:
                return "quota", error.code, f"{_where(item)}: {error.detail}"
            except NamespaceGoneError as error:
                return "gone", error.code, error.detail
            except (RejectedError, AlreadyExistsError) as error:
                return "failed", error.code, f"{_where(item)}: {error.detail}"
            failure = str(results[ordinal].get("failed", ""))
            if failure:
                return "failed", "migration-failed", failure
        return "ok", "", ""

    async def _insist(self, job: Job, item: WorkItem) -> Mapping[str, Any]:
        """One item, again and again while the cluster does not answer; every try is fenced, so repeating is safe."""

        async def once() -> Mapping[str, Any]:
            fault_point("effect:before", (job.target.phase, item.verb))
            result = await self._one(job, item)
            fault_point("effect:after", (job.target.phase, item.verb))
            return result

        return await insist(once, self._may_issue)

    async def _one(self, job: Job, item: WorkItem) -> Mapping[str, Any]:
        namespace = job.target.namespace
        match item.verb:
            case "seal":
                view = await self._cluster.seal(namespace, job.uid, job.fence)
                return {"uid": view.uid}
            case "delete":
                gone = await self._cluster.delete(
                    namespace, ObjectRef(item.api_version, item.kind, item.name, item.uid), job.fence
                )
                return {"deleted": gone}
            case "create":
                return await self._run_job(job, item)
        applied = await self._cluster.apply(namespace, item.manifest or {}, job.fence)
        result: dict[str, Any] = {"uid": applied.ref.uid, "generation": applied.generation, "changed": applied.changed}
        return {**result, "takenFrom": dict(applied.taken_from)} if applied.taken_from else result

    async def _run_job(self, job: Job, item: WorkItem) -> Mapping[str, Any]:
        """Create a migration's Job and wait for its end, as the cached watch tells it."""
        namespace = job.target.namespace
        changed = asyncio.Event()

        def heard(change: NamespaceChange) -> None:
            if change.namespace == namespace or change.liveness:
                changed.set()

        end = self._cluster.subscribe(heard)
        try:
            created = await self._cluster.create(namespace, item.manifest or {}, job.fence)
            while True:
                changed.clear()
                state = self._cluster.workloads(namespace).get(("Job", item.name))
                if state is not None and state.uid == created.ref.uid and (state.failed or state.succeeded):
                    failed = f"job {item.name}: {state.failed}" if state.failed else ""
                    return {"uid": created.ref.uid, "failed": failed}
                await changed.wait()
        finally:
            end()

    async def _second_look(self, job: Job, results: dict[int, Mapping[str, Any]]) -> None:
        """Read again what a predecessor may have touched late, and put right what differs."""
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        for ordinal, item in enumerate(job.work.items):
            if ordinal in job.done or item.verb in ("seal", "create"):
                continue
            live = await self._read(job, item)
            if item.verb == "delete":
                wrong = live is not None
            else:
                wrong = live is None or _content_of(live) != _content_of(item.manifest or {})
            if wrong:
                results[ordinal] = await self._insist(job, item)

    async def _read(self, job: Job, item: WorkItem) -> dict[str, Any] | None:
        ref = ObjectRef(item.api_version, item.kind, item.name)
        return await insist(lambda: self._cluster.get(job.target.namespace, ref), self._may_issue)

    def _done(
        self, job: Job, results: Mapping[int, Mapping[str, Any]], outcome: str, code: str, reason: str
    ) -> EffectDone:
        phase: Phase = job.target.phase
        if outcome not in ("ok", "quota", "gone"):
            return EffectDone(job.target.tenant, phase, "failed", code, reason)
        if outcome == "quota" or outcome == "gone":
            return EffectDone(job.target.tenant, phase, "quota" if outcome == "quota" else "gone", code, reason)
        if phase not in ("apply", "back"):
            return EffectDone(job.target.tenant, phase, "ok")
        written = {
            (item.kind, item.name): results[ordinal]
            for ordinal, item in enumerate(job.work.items)
            if item.verb == "apply" and ordinal in results
        }
        return EffectDone(
            job.target.tenant,
            phase,
            "ok",
            expected=self._expected(job, written),
            inventory=_inventory(job, written),
        )

    def _expected(self, job: Job, written: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[Expected, ...]:
        """Every workload of the content: at the generation our write made, or (unchanged ones) as the cache has it."""
        states = self._cluster.workloads(job.target.namespace)
        expected = []
        for manifest in job.new.objects:
            key = (manifest["kind"], manifest["metadata"]["name"])
            if key[0] not in JUDGED:
                continue
            if key in written:
                expected.append(Expected(*key, written[key]["uid"], written[key]["generation"]))
            elif key in states:
                expected.append(Expected(*key, states[key].uid, states[key].generation))
            else:
                expected.append(Expected(*key, "", 0))
        return tuple(expected)


async def insist[T](call: Callable[[], Awaitable[T]], may_issue: Callable[[], bool]) -> T:
    """Make a call again while the cluster does not answer, for as long as the lease lasts; raises `LeaseLostError` then."""
    try:
        return await _once(call, may_issue)
    except (
        ConflictError,
        ClusterUnavailableError,
    ) as error:  # nearly all calls succeed: a retry's machinery alone costs as much
        return await _again(error, call, may_issue)


async def _again[T](error: Exception, call: Callable[[], Awaitable[T]], may_issue: Callable[[], bool]) -> T:
    """Retry after a first attempt that ended with `error`."""
    first: Exception | None = error
    async for attempt in stamina.retry_context(
        on=_backoff, attempts=None, timeout=None, wait_initial=0.1, wait_max=2.0
    ):
        with attempt:
            if first is not None:
                failed, first = first, None
                raise failed
            return await _once(call, may_issue)
    raise AssertionError("the retry loop ends only by returning or raising")


async def _once[T](call: Callable[[], Awaitable[T]], may_issue: Callable[[], bool]) -> T:
    if not may_issue():
        raise LeaseLostError("The lease is about to run out; nothing more is sent.")
    return await call()


def _inventory(job: Job, written: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[tuple[str, str, str, str], ...]:
    known = {(item.key.kind, item.key.name): item.uid or "" for item in job.base}
    rows = []
    for manifest in job.new.objects:
        key = key_of(manifest)
        uid = str(written.get((key.kind, key.name), {}).get("uid", "")) or known.get((key.kind, key.name), "")
        rows.append((key.api_version, key.kind, key.name, uid))
    return tuple(rows)


def _observed(job: Job, ordinal: int, results: Mapping[int, Mapping[str, Any]], outcome: str, reason: str) -> Observed:
    if ordinal in results:
        failed = bool(results[ordinal].get("failed"))
        return Observed(job.work.step_id, ordinal, "failed" if failed else "ok", results[ordinal])
    first = min(n for n in range(len(job.work.items)) if n not in results)
    return Observed(
        job.work.step_id,
        ordinal,
        outcome if ordinal == first else "skipped",
        {"reason": reason} if ordinal == first else {},
    )


def _backoff(error: Exception) -> bool | timedelta:
    """Whether to try again: when the cluster did not answer; after as long as it asked for."""
    if type(error) is ConflictError:
        return True  # somebody else wrote in between: what we send does not depend on what was there
    if not isinstance(error, ClusterUnavailableError):
        return False
    return timedelta(seconds=error.retry_after) if error.retry_after else True


def _where(item: WorkItem) -> str:
    return f"{item.kind}/{item.name}"


def _content_of(manifest: Mapping[str, Any]) -> str:
    return str((manifest["metadata"].get("annotations") or {}).get(CONTENT_ANNOTATION, ""))
