"""Whether a target may start now: the slot, its base, and the walls around it. Pure; asked under the row's lock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from controlplane.domain.engine import TargetNow

WAIT = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class EnvironmentRow:
    """An environment as its locked row says. `current` is the revision its app runs, `verified` the newest verified one; 0: none.

    `queued`: a rollout this one waits behind has not settled this target yet, and `earlier` says which and where it is;
    `moved_by_earlier`: such a one made `current`. `lent_by`: the rollout that is changing it and has left its slot to the way back of another.
    """

    tenant: str
    phase: str
    epoch: int
    slot_id: str | None
    dirty: bool
    uid: str | None
    current: int
    deferred_until: datetime | None
    last_number: int
    verified: int = 0
    queued: bool = False
    moved_by_earlier: bool = False
    earlier: str = ""
    lent_by: str = ""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the cached watch says about a target's namespace. `reachable`: watch live and fence proven; `upgrading`: why the cluster
    counts as being under upgrade, empty if it does not.
    """

    reachable: bool
    detail: str = ""
    uid: str | None = None
    terminating: bool = False
    quota_short: str = ""
    upgrading: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Not now: `wait` asks again after a moment, `rebase` takes what an awaited rollout left as its base, `defer` and
    `skip` take the target out of its wave, with the reason. `until`: when a deferral ends by itself.
    """

    how: Literal["wait", "defer", "skip", "strand", "rebase"]
    code: str
    reason: str
    until: datetime | None = None


def admit(
    target: TargetNow, row: EnvironmentRow | None, cluster: ClusterFacts, rollout: str, now: datetime
) -> Refusal | None:
    """Judge a target that is next. `row` None: somebody else has its row locked this moment. None: it may start."""
    if row is None:
        return Refusal("wait", "busy", "another change is being decided on this environment")
    if target.wants:
        return _admit_onward(target, row, cluster, rollout)
    return _refused_by_registry(target, row, rollout, now) or _refused_by_cluster(row, cluster)


def _refused_by_registry(target: TargetNow, row: EnvironmentRow, rollout: str, now: datetime) -> Refusal | None:
    if row.phase in ("offboarding", "offboarded"):
        return Refusal("skip", "offboarding", f"tenant {row.tenant} is leaving")
    if row.phase == "suspended":
        return Refusal("defer", "suspended", f"tenant {row.tenant} is suspended")
    if row.deferred_until is not None and row.deferred_until > now:
        return Refusal(
            "defer",
            "tenant-deferred",
            f"the tenant asked to wait until {row.deferred_until:%Y-%m-%dT%H:%MZ}",
            until=row.deferred_until,
        )
    holder = row.slot_id or row.lent_by
    if holder and holder != rollout:
        where = f": {row.earlier}" if row.earlier else ""
        return Refusal("wait", "busy", f"another change ({holder}) has this environment's slot{where}")
    if row.queued:
        where = f": {row.earlier}" if row.earlier else ""
        return Refusal("wait", "queued", f"an earlier rollout has this target before us{where}")
    if row.dirty and target.attempt == 1:
        return Refusal("defer", "dirty", "an earlier change is stuck here; a person's retry or rollback comes first")
    if row.current != target.base_revision and row.moved_by_earlier:
        return Refusal("rebase", "rebased", f"revision {row.current} came from the rollout this one was queued behind")
    if row.current != target.base_revision:
        detail = f"planned on revision {target.base_revision}, but {row.current} runs now"
        return Refusal("skip", "superseded", detail)
    return None


def _refused_by_cluster(row: EnvironmentRow, cluster: ClusterFacts) -> Refusal | None:
    if not cluster.reachable:
        return Refusal(
            "wait", "unreachable", cluster.detail or "the cluster can't be measured, so nothing is dispatched to it"
        )
    if cluster.upgrading:
        return Refusal("wait", "cluster-upgrading", f"its cluster is under upgrade: {cluster.upgrading}")
    if cluster.uid is None:
        return Refusal("defer", "namespace-missing", "the namespace is not there")
    if row.uid is not None and cluster.uid != row.uid:
        return Refusal("defer", "namespace-replaced", "another namespace stands under this name")
    if cluster.terminating:
        return Refusal("defer", "namespace-terminating", "the namespace is being deleted")
    if cluster.quota_short:
        return Refusal("defer", "quota", cluster.quota_short)
    return None


def _admit_onward(target: TargetNow, row: EnvironmentRow, cluster: ClusterFacts, rollout: str) -> Refusal | None:
    """Next work of a target that was already changed: only a later change, or an unreachable cluster, stands in its way."""
    if row.slot_id is not None and row.slot_id != rollout:
        return Refusal("wait", "busy", f"another change ({row.slot_id}) has this environment's slot")
    if target.revision is not None and row.current != target.revision:
        detail = f"revision {row.current} is on top of ours ({target.revision}); going back would undo another change"
        return Refusal("strand", "would-undo-another-change", detail)
    if not cluster.reachable:
        return Refusal(
            "wait", "unreachable", cluster.detail or "the cluster can't be measured, so nothing is dispatched to it"
        )
    if cluster.uid is None or cluster.uid != row.uid or cluster.terminating:
        return Refusal(
            "strand", "namespace-replaced", "the namespace Seawall changed is gone; there is nothing to take back"
        )
    return None


def refused(target: TargetNow, refusal: Refusal, now: datetime) -> TargetNow:
    """The target after a refusal of `wait`: asked again after a moment, with the reason shown."""
    since = target.waiting_since or now
    return replace(target, retry_at=now + WAIT, waiting_since=since, code=refusal.code, reason=refusal.reason)
