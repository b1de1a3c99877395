"""Pods of the simulated fleet: when one becomes ready, when it crashes, how it looks to who lists it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from controlplane.adapters.simulated.profile import Profile, delay_of, draw, fault_of
from controlplane.adapters.simulated.quota import Usage
from controlplane.ports.clusters import Manifest


@dataclass(slots=True)
class Pod:
    """One pod. Times are seconds of the fleet's clock; `inf` is never."""

    name: str
    revision: str
    ready_at: float
    crash_at: float
    usage: Usage
    labels: dict[str, str]
    image: str

    def ready(self, now: float) -> bool:
        """Whether it takes traffic."""
        return self.ready_at <= now < self.crash_at

    def next_change(self, now: float) -> float:
        """When it becomes ready or crashes next; `inf` if it stays as it is."""
        return min((at for at in (self.ready_at, self.crash_at) if at > now), default=math.inf)

    def waiting(self, now: float) -> str:
        """Why its container waits, in the kubelet's words."""
        if self.ready(now):
            return ""
        broken = self.ready_at == math.inf or self.crash_at <= now
        return "CrashLoopBackOff" if broken else "ContainerCreating"


@dataclass(frozen=True, slots=True)
class PodMaker:
    """Makes the pods of one template in one namespace."""

    profile: Profile
    seed: int
    namespace: str
    owner: str
    revision: str
    template: dict[str, Any]
    usage: Usage

    def make(self, serial: int, now: float) -> Pod:
        """The pod with this serial number, created now."""
        fault = fault_of(self.profile, self.namespace, self.template)
        name = f"{self.owner}-{self.revision[:8]}-{serial:05d}"
        asked = delay_of(self.template)
        slow = (asked, asked) if asked is not None else self.profile.slow
        span = slow if fault == "slow-start" else self.profile.ready
        ready = math.inf if fault == "never-ready" else now + draw(self.seed, span, self.namespace, name)
        crash = math.inf
        if fault == "crash-after-ready":
            stays = (asked, asked) if asked is not None else self.profile.crash
            crash = ready + draw(self.seed, stays, self.namespace, name, "crash")
        containers = (self.template.get("spec") or {}).get("containers") or [{}]
        labels = (self.template.get("metadata") or {}).get("labels") or {}
        return Pod(name, self.revision, ready, crash, self.usage, dict(labels), str(containers[0].get("image", "")))


def as_manifest(pod: Pod, namespace: str, now: float) -> Manifest:
    """The pod as the API server would show it."""
    waiting, ready = pod.waiting(now), pod.ready(now)
    state: dict[str, Any] = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": namespace, "uid": pod.name, "labels": pod.labels},
        "spec": {"containers": [{"name": "main", "image": pod.image}]},
        "status": {
            "phase": "Pending" if waiting == "ContainerCreating" else "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "main", "ready": ready, "state": state}],
        },
    }


def ended_manifest(job: Manifest, namespace: str, message: str) -> Manifest:
    """The pod of a Job that ended, as the API server would show it."""
    name = job["metadata"]["name"]
    ended = {"exitCode": 0, "reason": "Completed", **({"message": message} if message else {})}
    labels = {"job-name": name, "batch.kubernetes.io/job-name": name}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{name}-0", "namespace": namespace, "uid": f"{name}-0", "labels": labels},
        "status": {
            "phase": "Succeeded",
            "containerStatuses": [{"name": "main", "ready": False, "state": {"terminated": ended}}],
        },
    }
