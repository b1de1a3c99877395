"""What is not the release's doing: nodes that go, a zone that is lost, a cluster under upgrade, a dependency that fails. Pure.

A target that falls ill while such a thing happens is not blamed: it holds as `disturbed`, which is a kind of unknown, until the
disturbance has passed and a progress deadline more, or until the limit of its wave's `disturbanceLimit` runs out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

RECENT_SECONDS = 600.0
"""How long a node that went away still explains what happened to the pods it had."""
ZONE_LOST = 0.5
"""A zone counts as lost when more than this share of its nodes is away."""
NEIGHBOURS = 3
"""Tenants nobody touches that must be ill on the same nodes before the nodes are suspected."""
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Node:
    """One node as the API server shows it. `pool`: nodes made alike; `version`: kubelet; `image`: the node image, if it is labelled."""

    name: str
    zone: str = ""
    pool: str = ""
    ready: bool = True
    cordoned: bool = False
    version: str = ""
    image: str = ""

    @property
    def away(self) -> bool:
        """Whether pods can't count on it."""
        return self.cordoned or not self.ready


@dataclass(frozen=True, slots=True)
class Nodes:
    """All nodes of a cluster, and those deleted within the last ten minutes. `known`: whether they could be read lately."""

    present: Mapping[str, Node] = field(default_factory=dict)
    gone: Mapping[str, Node] = field(default_factory=dict)
    known: bool = True

    @property
    def troubled(self) -> bool:
        """Whether anything about the nodes may explain ill health; cheap, asked at every look."""
        return bool(self.gone) or not self.known or any(node.away for node in self.present.values())


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod: whose namespace, on which node (empty: none yet), whether it is ready."""

    namespace: str
    node: str
    ready: bool


@dataclass(frozen=True, slots=True)
class DependencyView:
    """A declared dependency as it was found: `ill` says how, empty if it is well."""

    name: str
    ill: str = ""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What surrounds an ill target. `pods` are its own, `neighbours` those of other tenants on the same nodes.

    `unknown` says why it could not be asked; then nothing else is filled in.
    """

    pods: Sequence[PodView] = ()
    neighbours: Sequence[PodView] = ()
    dependencies: Sequence[DependencyView] = ()
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Excuse:
    """Why ill health is not blamed on the release now: a stable code and a sentence."""

    code: str
    reason: str


ASKING = Excuse("asking", "what surrounds it is being asked")
"""Holds a target for the moment that the question takes; it excuses nothing."""
ANOTHER_BLAMED = "another-blamed"
"""Code of the excuse that a vote blames another change."""


def excuse_of(nodes: Nodes, around: Circumstances, touched: frozenset[str] = frozenset()) -> Excuse | None:
    """Say why a target's ill health is not the release's doing, or None. The first cause found is named.

    `touched`: namespaces that rollouts are changing now; they are no witnesses.
    """
    if around.unknown:
        return Excuse("circumstances-unknown", f"what surrounds it could not be asked: {around.unknown}")
    return _zone(nodes, around) or _nodes(nodes, around) or _neighbours(around, touched) or _dependency(around)


def _zone(nodes: Nodes, around: Circumstances) -> Excuse | None:
    """A zone is lost when more than half of its nodes are away; it excuses targets with ill pods there, or with pods that find no node."""
    total: Counter[str] = Counter()
    away: Counter[str] = Counter()
    for node in (*nodes.present.values(), *nodes.gone.values()):
        total[node.zone] += 1
        away[node.zone] += node.name in nodes.gone or node.away
    lost = {zone for zone in total if zone and total[zone] > 1 and away[zone] > ZONE_LOST * total[zone]}
    zones = {_zone_of(nodes, pod.node) for pod in around.pods if not pod.ready}
    hit = sorted((zones & lost) or (lost if "" in zones else set()))
    if not hit:
        return None
    return Excuse("zone-lost", f"zone {hit[0]}: {away[hit[0]]} of {total[hit[0]]} nodes are away")


def _zone_of(nodes: Nodes, name: str) -> str:
    node = nodes.present.get(name) or nodes.gone.get(name)
    return node.zone if node else ""


def _nodes(nodes: Nodes, around: Circumstances) -> Excuse | None:
    """A pod that is not ready sits on a node that is away, or finds none because nodes are."""
    on: dict[str, str] = {}
    for pod in around.pods:
        if pod.ready:
            continue
        if pod.node:
            said = _away(nodes, pod.node)
            on |= {pod.node: said} if said else {}
        else:
            on |= {name: _away(nodes, name) for name in [*nodes.gone, *nodes.present] if _away(nodes, name)}
    if not on:
        return None
    listed = [f"{name} {said}" for name, said in sorted(on.items())]
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return Excuse("node-away", f"node {', '.join(listed[:_NAMED])}{more}")


def _away(nodes: Nodes, name: str) -> str:
    node = nodes.present.get(name)
    if node is None:
        return "is gone" if name in nodes.gone else ""
    if not node.ready:
        return "is not ready"
    return "is cordoned" if node.cordoned else ""


def _neighbours(around: Circumstances, touched: frozenset[str]) -> Excuse | None:
    """Tenants nobody touches are ill on the very nodes where our pods are: three of them, and more ill than well."""
    ours = {pod.node for pod in around.pods if pod.node and not pod.ready}
    ill: defaultdict[str, bool] = defaultdict(bool)
    for pod in around.neighbours:
        if pod.node in ours and pod.namespace not in touched:
            ill[pod.namespace] |= not pod.ready
    number = sum(ill.values())
    if number < NEIGHBOURS or 2 * number < len(ill):
        return None
    return Excuse("neighbours-ill", f"{number} of {len(ill)} tenants nobody touches are ill on the same nodes")


def _dependency(around: Circumstances) -> Excuse | None:
    for one in around.dependencies:
        if one.ill:
            return Excuse("dependency-ill", f"its dependency {one.name}: {one.ill}")
    return None


def upgrading(nodes: Nodes) -> str:
    """Why a cluster counts as being under upgrade, or an empty string: nodes cordoned, or unlike within one pool.

    Pools may differ for ever; nodes of one pool differ only while they are being replaced.
    """
    cordoned = sorted(node.name for node in nodes.present.values() if node.cordoned)
    if cordoned:
        return f"node {', '.join(cordoned[:_NAMED])} is cordoned" + (
            f", and {len(cordoned) - _NAMED} more" if len(cordoned) > _NAMED else ""
        )
    pools: defaultdict[str, list[Node]] = defaultdict(list)
    for node in nodes.present.values():
        pools[node.pool].append(node)
    for pool, members in sorted(pools.items()):
        for what, values in (
            ("versions", _values(n.version for n in members)),
            ("images", _values(n.image for n in members)),
        ):
            if len(values) > 1:
                name = f"pool {pool}" if pool else "its nodes"
                return f"{name} has nodes of {len(values)} {what}: {', '.join(values[:_NAMED])}"
    return ""


def _values(values: Iterable[str]) -> list[str]:
    return sorted({value for value in values if value})
