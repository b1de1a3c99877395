"""The simulated fleet's controllers: what they make of Deployments, StatefulSets, DaemonSets and Jobs, and when.

Each step is one reconcile of one workload at one time; the next is due when a pod becomes ready or crashes, or at the progress
deadline. Surge and unavailability follow k8s.io/kubernetes/pkg/controller/deployment/util (surge rounds up, unavailable down).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from controlplane.adapters.simulated.clock import Clock
from controlplane.adapters.simulated.merge import json_copy
from controlplane.adapters.simulated.pods import Pod, PodMaker, as_manifest, ended_manifest
from controlplane.adapters.simulated.profile import Profile, draw, fault_of, message_of
from controlplane.adapters.simulated.quota import Quotas, pod_usage
from controlplane.adapters.simulated.store import Store, Stored
from controlplane.domain.names import digest_of
from controlplane.ports.clusters import Manifest

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
NODES = 3
"""Nodes of the fleet: what a DaemonSet's pods count to."""
_DEADLINE = 600
"""Seconds; Kubernetes' default progressDeadlineSeconds."""


@dataclass(slots=True)
class _Running:
    """What the controllers know of one workload besides its object."""

    pods: list[Pod] = field(default_factory=list)
    serial: int = 0
    progressed: float = 0.0
    seen_generation: int = 0
    refused: str = ""
    cancel: Callable[[], None] | None = None


class Controllers:
    """All controllers of the fleet."""

    def __init__(self, store: Store, clock: Clock, profile: Profile, seed: int, quotas: Quotas) -> None:
        self._store = store
        self._clock = clock
        self.profile = profile
        self._seed = seed
        self._quotas = quotas
        self._running: dict[tuple[str, str, str], _Running] = {}

    def written(self, namespace: str, stored: Stored) -> None:
        """An object was created or changed: its controller acts a moment later."""
        kind, name = stored.obj["kind"], stored.meta["name"]
        if kind in WORKLOADS:
            self._wake((namespace, kind, name), self._clock.now() + self.profile.controller)
        elif kind == "ResourceQuota":
            self._quotas.publish(namespace)
            self._retry_refused(namespace)

    def deleted(self, namespace: str, kind: str, name: str) -> None:
        """An object is gone: its pods go with it."""
        running = self._running.pop((namespace, kind, name), None)
        if running is None:
            return
        if running.cancel:
            running.cancel()
        for pod in running.pods:
            self._quotas.pods(namespace, pod.usage, -1)
        if running.pods:
            self._quotas.publish(namespace)
            self._retry_refused(namespace)

    def pods(self, namespace: str) -> list[Manifest]:
        """The pods of a namespace as objects."""
        now = self._clock.now()
        found = [as_manifest(pod, namespace, now) for _, running in self._of(namespace) for pod in running.pods]
        return [*found, *self._ended(namespace)]

    def _ended(self, namespace: str) -> Iterator[Manifest]:
        """The pods of Jobs that ended: they stay until their Job goes, and say what they had to say."""
        for (kind, _), stored in self._store.objects.get(namespace, {}).items():
            if kind == "Job" and complete(stored.obj):
                template = (stored.obj.get("spec") or {}).get("template") or {}
                yield ended_manifest(stored.obj, namespace, message_of(self.profile, namespace, template))

    def settle(self) -> None:
        """Take up a fleet loaded from a file: what was complete has its pods at once, the rest is rolled out anew."""
        for namespace, held in list(self._store.objects.items()):
            for stored in list(held.values()):
                if stored.obj["kind"] in WORKLOADS and stored.obj["kind"] != "Job" and complete(stored.obj):
                    self._adopt(namespace, stored)
                self.written(namespace, stored)

    def _adopt(self, namespace: str, stored: Stored) -> None:
        kind, name = stored.obj["kind"], stored.meta["name"]
        running = self._running.setdefault((namespace, kind, name), _Running())
        maker = self._maker(namespace, stored)
        for _ in range(desired_pods(stored.obj)):
            running.serial += 1
            pod = maker.make(running.serial, self._clock.now())
            pod.ready_at, pod.crash_at = self._clock.now(), math.inf
            running.pods.append(pod)
            self._quotas.pods(namespace, pod.usage, 1)

    def _of(self, namespace: str) -> Iterator[tuple[tuple[str, str, str], _Running]]:
        for kind, name in tuple(self._store.objects.get(namespace, {})):
            running = self._running.get((namespace, kind, name))
            if running is not None:
                yield (namespace, kind, name), running

    def _wake(self, key: tuple[str, str, str], when: float) -> None:
        running = self._running.setdefault(key, _Running())
        if running.cancel:
            running.cancel()
        running.cancel = self._clock.call_at(when, lambda: self._reconcile(key))

    def _retry_refused(self, namespace: str) -> None:
        for key, running in self._of(namespace):
            if running.refused:
                self._wake(key, self._clock.now() + self.profile.controller)

    def _reconcile(self, key: tuple[str, str, str]) -> None:
        namespace, kind, name = key
        stored = self._store.find(namespace, kind, name)
        if stored is None:
            return
        running = self._running[key]
        running.cancel = None
        if kind == "Job":
            self._job(namespace, stored, running)
            return
        maker = self._maker(namespace, stored)
        if stored.meta.get("generation", 0) != running.seen_generation:
            running.seen_generation, running.progressed = stored.meta.get("generation", 0), self._clock.now()
        self._roll(stored, running, maker)
        self._store.status(stored, self._status(stored, running, maker.revision))
        due = min([pod.next_change(self._clock.now()) for pod in running.pods] + [self._deadline(stored, running)])
        if due < math.inf:
            self._wake(key, due)

    def _maker(self, namespace: str, stored: Stored) -> PodMaker:
        template = (stored.obj.get("spec") or {}).get("template") or {}
        usage = pod_usage(template, [one.obj for one in self._store.of_kind(namespace, "LimitRange")])
        revision = digest_of(template).removeprefix("sha256:")
        return PodMaker(self.profile, self._seed, namespace, stored.meta["name"], revision, template, usage)

    def _roll(self, stored: Stored, running: _Running, maker: PodMaker) -> None:
        """Create and remove pods until this workload's strategy lets nothing more happen now."""
        now, desired = self._clock.now(), desired_pods(stored.obj)
        surge, unavailable = allowance(stored.obj, desired)
        before = [pod.name for pod in running.pods if pod.ready(now)]
        while True:
            new = [pod for pod in running.pods if pod.revision == maker.revision]
            old = [pod for pod in running.pods if pod.revision != maker.revision]
            room = min(desired - len(new), desired + surge - len(running.pods))
            spare = sum(pod.ready(now) for pod in running.pods) - (desired - unavailable)
            waiting = [pod for pod in old if not pod.ready(now)]
            if len(new) > desired:
                self._remove(running, new[-1], maker.namespace)
            elif waiting and len(running.pods) > desired - unavailable:
                self._remove(running, waiting[0], maker.namespace)
            elif old and spare > 0:
                self._remove(running, old[0], maker.namespace)
            elif room <= 0 or not self._create(running, maker, now):
                break
        if [pod.name for pod in running.pods if pod.ready(now)] != before:
            running.progressed = now
        self._quotas.publish(maker.namespace)

    def _create(self, running: _Running, maker: PodMaker, now: float) -> bool:
        running.refused = self._quotas.refuses(maker.namespace, maker.usage)
        if running.refused:
            return False
        running.serial += 1
        running.pods.append(maker.make(running.serial, now))
        self._quotas.pods(maker.namespace, maker.usage, 1)
        running.progressed = now
        return True

    def _remove(self, running: _Running, pod: Pod, namespace: str) -> None:
        running.pods.remove(pod)
        self._quotas.pods(namespace, pod.usage, -1)

    def _deadline(self, stored: Stored, running: _Running) -> float:
        spec = stored.obj.get("spec") or {}
        done = running.progressed + float(spec.get("progressDeadlineSeconds", _DEADLINE))
        finished = complete(stored.obj)
        return math.inf if finished or stored.obj["kind"] != "Deployment" or done <= self._clock.now() else done

    def _status(self, stored: Stored, running: _Running, revision: str) -> dict[str, Any]:
        now, obj = self._clock.now(), stored.obj
        new = [pod for pod in running.pods if pod.revision == revision]
        ready = sum(pod.ready(now) for pod in running.pods)
        counts: dict[str, Any] = {"observedGeneration": stored.meta.get("generation", 0)}
        if obj["kind"] == "DaemonSet":
            counts |= {
                "desiredNumberScheduled": NODES,
                "updatedNumberScheduled": len(new),
                "currentNumberScheduled": len(running.pods),
                "numberAvailable": ready,
            }
            return counts
        counts |= {"replicas": len(running.pods), "updatedReplicas": len(new), "readyReplicas": ready}
        counts["availableReplicas"] = ready
        if obj["kind"] == "Deployment":
            counts["conditions"] = self._conditions(stored, running, counts)
        return counts

    def _conditions(self, stored: Stored, running: _Running, counts: dict[str, Any]) -> list[dict[str, str]]:
        name, spec = stored.meta["name"], stored.obj.get("spec") or {}
        late = running.progressed + float(spec.get("progressDeadlineSeconds", _DEADLINE)) <= self._clock.now()
        stuck = late and not complete({**stored.obj, "status": counts})
        reason = "ProgressDeadlineExceeded" if stuck else "ReplicaSetUpdated"
        message = f'ReplicaSet of "{name}" has timed out progressing.' if stuck else ""
        conditions = [
            {"type": "Progressing", "status": "False" if stuck else "True", "reason": reason, "message": message}
        ]
        if running.refused:
            message = f"pods of {name} is forbidden: {running.refused}"
            failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
            conditions.append(failure)
        return conditions

    def _job(self, namespace: str, stored: Stored, running: _Running) -> None:
        now, name = self._clock.now(), stored.meta["name"]
        template = (stored.obj.get("spec") or {}).get("template") or {}
        fault = fault_of(self.profile, namespace, template)
        if complete(stored.obj):
            return
        if not running.progressed:
            running.progressed = now + draw(self._seed, self.profile.job, namespace, name)
            self._store.status(stored, {"active": 1, "ready": 1})
        elif now >= running.progressed and fault != "job-hangs":
            failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
            failed["message"] = "Job has reached the specified backoff limit"
            good = {"type": "Complete", "status": "True", "reason": "CompletionsReached", "message": ""}
            outcome = failed if fault == "job-fails" else good
            self._store.status(stored, {"active": 0, "ready": 0, "conditions": [outcome]})
            return
        if fault != "job-hangs":
            self._wake((namespace, "Job", name), running.progressed)


def desired_pods(obj: Manifest) -> int:
    """How many pods a workload wants."""
    return NODES if obj["kind"] == "DaemonSet" else int((obj.get("spec") or {}).get("replicas", 1))


def allowance(obj: Manifest, desired: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods. StatefulSets and DaemonSets replace one by one."""
    if obj["kind"] != "Deployment":
        return 0, 1
    strategy = (obj.get("spec") or {}).get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, desired
    rolling = strategy.get("rollingUpdate") or {}
    surge = _pods(rolling.get("maxSurge", "25%"), desired, math.ceil)
    unavailable = _pods(rolling.get("maxUnavailable", "25%"), desired, math.floor)
    return surge, unavailable if surge or unavailable else 1


def _pods(value: int | str, desired: int, rounding: Callable[[float], int]) -> int:
    return rounding(int(str(value)[:-1]) * desired / 100) if str(value).endswith("%") else int(value)


def complete(obj: Manifest) -> bool:
    """Whether nothing is left to do for this workload's controller."""
    status = obj.get("status") or {}
    if obj["kind"] == "Job":
        return any(one["type"] in ("Complete", "Failed") for one in status.get("conditions") or [])
    desired = desired_pods(obj)
    return bool(status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas") == desired)


def defaulted(obj: Manifest) -> Manifest:
    """What the API server fills in and Seawall looks at: a Deployment's replicas."""
    if obj["kind"] not in ("Deployment", "StatefulSet") or "replicas" in (obj.get("spec") or {}):
        return obj
    filled = json_copy(obj)
    filled.setdefault("spec", {})["replicas"] = 1
    return filled
