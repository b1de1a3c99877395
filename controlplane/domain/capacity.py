"""How much room the nodes of a cluster have, and how much a wave needs of it. Pure.

Room = allocatable of nodes that take new pods, minus what their pods and those that wait for a node request: the scheduler's own sum
(https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/). It is a sum over nodes: a pod larger than the free part of each
single node does not fit although the sum says so; `largest` tells that part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from controlplane.domain.manifests import Manifest
from controlplane.domain.quantities import parse_quantity
from controlplane.domain.quota import Shortfall, pod_amounts
from controlplane.domain.resources import Resources, add

COUNTED = ("pods", "requests.cpu", "requests.memory")
_ALLOCATABLE = {"pods": "pods", "requests.cpu": "cpu", "requests.memory": "memory"}
_ENDED = ("Succeeded", "Failed")
_SHUT = ("NoSchedule", "NoExecute")
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Room:
    """Free and allocatable amounts by quota name (`requests.cpu`, ...); `nodes` take new pods, `shut` don't."""

    free: Mapping[str, Decimal]
    allocatable: Mapping[str, Decimal]
    largest: Mapping[str, Decimal]
    nodes: int
    shut: int


@dataclass
class RoomCount:
    """Counts nodes first, then pods, one by one, so that no list of either is kept."""

    _free: dict[str, Resources] = field(default_factory=dict)
    _allocatable: Resources = field(default_factory=dict)
    _shut: int = 0
    _waiting: Resources = field(default_factory=dict)

    def node(self, node: Manifest) -> None:
        """Count a node."""
        if not _takes_pods(node):
            self._shut += 1
            return
        listed = (node.get("status") or {}).get("allocatable") or {}
        amounts = {name: parse_quantity(listed.get(key, "0")) for name, key in _ALLOCATABLE.items()}
        self._free[node["metadata"]["name"]] = amounts
        self._allocatable = add(self._allocatable, amounts)

    def pod(self, pod: Manifest) -> None:
        """Count a pod: on its node, or as one that waits for a node. Pods of nodes that take none don't count."""
        if (pod.get("status") or {}).get("phase") in _ENDED:
            return
        asks = {"pods": _ONE, **pod_amounts(pod["spec"], "requests", {}, {})}
        asks = {name: asks.get(name, Decimal(0)) for name in COUNTED}
        node = pod["spec"].get("nodeName", "")
        if not node:
            self._waiting = add(self._waiting, asks)
        elif node in self._free:
            self._free[node] = {name: amount - asks[name] for name, amount in self._free[node].items()}

    def room(self) -> Room:
        """What is left."""
        nodes = list(self._free.values())
        free = {
            name: sum((one[name] for one in nodes), Decimal(0)) - self._waiting.get(name, Decimal(0))
            for name in COUNTED
        }
        largest = {name: max((one[name] for one in nodes), default=Decimal(0)) for name in COUNTED}
        return Room(
            free, {name: self._allocatable.get(name, Decimal(0)) for name in COUNTED}, largest, len(nodes), self._shut
        )


def surge_of(used: Iterable[Mapping[str, Decimal]], at_once: int, share: Decimal) -> Resources:
    """What so many tenants at once may ask for besides what they have, at worst: `share` (1 = all of it) of the largest, name by name.

    Pods round up for each tenant: a rolling update of one pod makes a whole one more.
    """
    listed = list(used)
    needed: Resources = {}
    for name in COUNTED:
        amounts = sorted((one.get(name, Decimal(0)) * share for one in listed), reverse=True)[:at_once]
        whole = [amount.to_integral_value(ROUND_CEILING) for amount in amounts] if name == "pods" else amounts
        needed[name] = sum(whole, Decimal(0))
    return needed


def short_of(room: Room, needed: Mapping[str, Decimal], keep: Decimal = Decimal(0)) -> dict[str, Shortfall]:
    """What does not fit, by name, when the share `keep` of the allocatable must stay free; who needs nothing is never short."""
    free = {name: room.free[name] - room.allocatable[name] * keep for name in COUNTED}
    return {
        name: Shortfall(needed[name], free[name])
        for name in COUNTED
        if needed.get(name, Decimal(0)) > max(free[name], Decimal(0))
    }


def _takes_pods(node: Manifest) -> bool:
    spec = node.get("spec") or {}
    ready = any(
        one.get("type") == "Ready" and one.get("status") == "True"
        for one in (node.get("status") or {}).get("conditions") or []
    )
    shut = any(taint.get("effect") in _SHUT for taint in spec.get("taints") or [])
    return ready and not shut and not spec.get("unschedulable")
