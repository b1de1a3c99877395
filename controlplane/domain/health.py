"""What a workload in a cluster looks like, and when it is done.

The done rule is the one of `kubectl rollout status` (kubectl/pkg/polymorphichelpers/rollout_status.go) at the generation
that our own write produced, so that a stale cache is never mistaken for health of the new revision.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Health(StrEnum):
    """What one look at a workload says. `unknown` is never health: nobody could measure."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """One Deployment, StatefulSet, DaemonSet or Job as the cached watch knows it. Counts are pods."""

    kind: str
    name: str
    uid: str
    generation: int
    observed_generation: int
    replicas: int
    updated: int
    total: int
    available: int
    failed: str = ""
    """Why the cluster itself gave up (`ProgressDeadlineExceeded: ...`, `ReplicaFailure: ...`, a failed Job); empty if it did not."""
    quota_blocked: bool = False
    """Pods can't be created because a ResourceQuota is full: never blamed on the release."""
    succeeded: bool = False
    """Jobs only: it completed."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A workload that our write touched: it is judged at this uid and at `generation` or newer."""

    kind: str
    name: str
    uid: str
    generation: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """Health of one workload or of all of a target's, with a reason a person can read.

    `progress`: how far the change has come, in pods; only good for telling whether it came further than before.
    """

    health: Health
    reason: str = ""
    quota_blocked: bool = False
    progress: int = 0


def judge_workload(expected: Expected, state: WorkloadState | None) -> Judgement:
    """Judge one workload against what our write produced. `None`: the cache does not hold it."""
    where = f"{expected.kind.lower()} {expected.name}"
    if state is None or state.uid != expected.uid:
        return Judgement(Health.PROGRESSING, f"{where} not seen yet")
    if state.kind == "Job":
        return _judge_job(where, state)
    if state.generation < expected.generation or state.observed_generation < state.generation:
        return Judgement(Health.PROGRESSING, f"{where} waits for its controller")
    if state.failed and not state.quota_blocked:
        return Judgement(Health.UNHEALTHY, f"{where}: {state.failed}")
    if state.updated < state.replicas:
        return Judgement(
            Health.PROGRESSING, f"{where}: {state.updated} of {state.replicas} updated", state.quota_blocked
        )
    if state.total > state.updated:
        return Judgement(
            Health.PROGRESSING, f"{where}: {state.total - state.updated} old pods remain", state.quota_blocked
        )
    if state.available < state.updated:
        detail = f"{where}: {state.available} of {state.updated} available"
        return Judgement(Health.PROGRESSING, detail, state.quota_blocked)
    return Judgement(Health.HEALTHY)


def _judge_job(where: str, state: WorkloadState) -> Judgement:
    if state.failed:
        return Judgement(Health.UNHEALTHY, f"{where}: {state.failed}")
    return Judgement(Health.HEALTHY) if state.succeeded else Judgement(Health.PROGRESSING, f"{where} runs")


_WORST_FIRST = (Health.UNHEALTHY, Health.UNKNOWN, Health.PROGRESSING)


def judge_all(expected: tuple[Expected, ...], states: dict[tuple[str, str], WorkloadState]) -> Judgement:
    """Judge a target: the worst of its workloads; without any workload it is healthy once applied.

    `states` is keyed by (kind, name) within the target's namespace.
    """
    judged = _worst(expected, states)
    if judged.health is Health.HEALTHY:
        return judged
    return replace(judged, progress=sum(_progress(one, states.get((one.kind, one.name))) for one in expected))


def _progress(expected: Expected, state: WorkloadState | None) -> int:
    """Pods that are updated, available, and rid of the old: what the Deployment controller counts as progress.

    https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/controller/deployment/util/deployment_util.go (DeploymentProgressing)
    """
    if state is None or state.uid != expected.uid:
        return 0
    if state.kind == "Job":
        return 1 + state.succeeded
    if state.generation < expected.generation or state.observed_generation < state.generation:
        return 1
    return 2 + max(0, 2 * state.updated + state.available - state.total)


def _worst(expected: tuple[Expected, ...], states: Mapping[tuple[str, str], WorkloadState]) -> Judgement:
    judgements = [judge_workload(one, states.get((one.kind, one.name))) for one in expected]
    for health in _WORST_FIRST:
        for one in judgements:
            if one.health is health:
                return one
    return Judgement(Health.HEALTHY)


def ill_of(states: Mapping[tuple[str, str], WorkloadState]) -> frozenset[Expected]:
    """The workloads that are ill or unfinished as they stand, each at its own generation; Jobs are left out: they end."""
    standing = (Expected(*key, state.uid, state.generation) for key, state in states.items() if state.kind != "Job")
    return frozenset(
        one for one in standing if judge_workload(one, states[one.kind, one.name]).health is not Health.HEALTHY
    )


def without_older_failures(expected: Sequence[Expected], ill_before: Collection[Expected]) -> tuple[Expected, ...]:
    """What a change is judged by: not the workloads it left alone (same uid and generation) that were ill before it.

    A failure that is older than the change says nothing about it; blaming it would roll back what is not to blame, and the
    way back would not mend it.
    """
    return tuple(one for one in expected if one not in ill_before)
