"""capacity: room for what a wave starts at once: on the nodes, in each tenant's quota, in databases.

Nodes: the API server's allocatable minus requests, per cluster, against the surge of as many tenants as may be in flight there (at worst the
largest ones). What a tenant requests is read from its quota's use. Databases: queries of the catalogue or one's own. It only ever waits, and says
how much is missing; the exact peak of a single tenant's quota is computed once more in its preflight.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import Field

from controlplane.domain.capacity import COUNTED, short_of, surge_of
from controlplane.domain.errors import SeawallError
from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.names import namespace_name
from controlplane.domain.plans import PlannedTarget
from controlplane.domain.quantities import Duration, format_quantity, parse_percent
from controlplane.domain.quota import Shortfall
from controlplane.domain.strategies import Percent
from controlplane.domain.wire import Wire
from controlplane.ports.clusters import Cluster
from controlplane.ports.gates import Evidence, GatePorts, GateScene

from .metric import MetricGate, MetricSpec, UnknownLimit, read
from .scenes import before_a_way_back, worst
from .signals import some

WHOLE = Decimal(100)
_DATABASES = MetricGate()


class CapacitySpec(Wire):
    """`{"capacity": {"surge": "50%", "databases": [{"use": "postgres-connections"}]}}`."""

    surge: Percent = Field(
        default="100%", description="Share of what a tenant requests that its change asks for besides, at worst."
    )
    keep_free: Percent | None = Field(default=None, description="Share of the nodes' allocatable that stays free.")
    quota: bool = Field(default=False, description="Each tenant's quota must have room for its surge, too.")
    databases: tuple[MetricSpec, ...] = Field(default=(), max_length=10, description="Headroom that metrics tell.")
    interval: Duration = Field(
        default=timedelta(seconds=15), ge=timedelta(seconds=1), description="Time between two looks."
    )
    unknown: UnknownLimit = Field(default_factory=UnknownLimit)

    @property
    def share(self) -> Decimal:
        """The surge as a factor."""
        return parse_percent(self.surge) / WHOLE

    @property
    def kept(self) -> Decimal:
        """The part to keep free as a factor."""
        return parse_percent(self.keep_free) / WHOLE if self.keep_free else Decimal(0)


class CapacityGate:
    """See the module."""

    kind = "capacity"
    spec = CapacitySpec

    def interval(self, spec: CapacitySpec) -> float:
        """As the spec says."""
        return spec.interval.total_seconds()

    async def observe(self, spec: CapacitySpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Read each cluster's room and its tenants' use, and ask the databases."""
        asked = set(scene.targets)
        subjects = [t for t in scene.plan.waves[scene.key.wave].targets if not asked or t.tenant in asked]
        clusters: dict[str, list[PlannedTarget]] = {}
        for target in subjects:
            clusters.setdefault(target.cluster, []).append(target)
        found = {name: await _measure(spec, scene, ports, name, mine) for name, mine in sorted(clusters.items())}
        databases = [await _DATABASES.observe(one, scene, ports) for one in spec.databases]
        shown = {t.tenant: {"cluster": t.cluster} for t in subjects}
        return {"clusters": found, "databases": databases, "targets": shown}

    def judge(self, spec: CapacitySpec, scene: GateScene, evidence: Evidence) -> Judged:
        """All clusters and databases together."""
        if before_a_way_back(scene):
            return Judged(Verdict.PASS, "a way back waits for no room")
        clusters = [_judge_cluster(name, found) for name, found in evidence["clusters"].items()]
        return worst([*clusters, *_judge_databases(spec, scene, evidence)])

    def judge_each(self, spec: CapacitySpec, scene: GateScene, evidence: Evidence) -> Mapping[str, Judged]:
        """Each target by its own cluster and quota, and by the databases."""
        if before_a_way_back(scene):
            return dict.fromkeys(evidence["targets"], Judged(Verdict.PASS, "a way back waits for no room"))
        databases = _judge_databases(spec, scene, evidence)
        return {
            tenant: worst(
                [_judge_cluster(shown["cluster"], evidence["clusters"][shown["cluster"]], tenant), *databases]
            )
            for tenant, shown in evidence["targets"].items()
        }


async def _measure(
    spec: CapacitySpec, scene: GateScene, ports: GatePorts, name: str, targets: list[PlannedTarget]
) -> dict[str, Any]:
    """One cluster: `free`, `needed`, `short` and, per tenant, `quotas` that are short; or `error`."""
    if ports.clusters is None:
        return {"error": "this process knows no clusters"}
    try:
        cluster = await ports.clusters.get(name)
        room = await cluster.room()
    except SeawallError as error:
        return {"error": error.detail}
    if room is None:
        return {"error": "it has no nodes to ask"}
    if not cluster.live():
        return {"error": "its watch is not proven live"}
    used = _used(cluster, scene, targets)
    if unseen := sorted({t.tenant for t in targets} - set(used)):
        return {"error": f"no quota of {some(unseen)} is seen, so what it requests is not known"}
    limits = scene.plan.limits
    at_once = min(limits.in_flight, limits.per_cluster.get(name, limits.in_flight), len(targets))
    needed = surge_of(({n: use for n, (use, _) in one.items()} for one in used.values()), at_once, spec.share)
    return {
        "nodes": room.nodes,
        "shut": room.shut,
        "atOnce": at_once,
        "free": _written(room.free),
        "needed": _written(needed),
        "short": _shortfalls(short_of(room, needed, spec.kept)),
        "quotas": _tight(used, spec.share) if spec.quota else {},
    }


type Use = Mapping[str, tuple[Decimal, Decimal]]


def _used(cluster: Cluster, scene: GateScene, targets: list[PlannedTarget]) -> dict[str, Use]:
    """(used, hard) by tenant, of those whose quota is seen."""
    seen = {t.tenant: cluster.quota(namespace_name(t.tenant, scene.plan.environment)) for t in targets}
    return {tenant: quota for tenant, quota in seen.items() if quota}


def _tight(used: Mapping[str, Use], share: Decimal) -> dict[str, dict[str, str]]:
    """Tenants whose quota can't hold their surge."""
    found: dict[str, dict[str, str]] = {}
    for tenant, quota in used.items():
        needed = surge_of([{name: use for name, (use, _) in quota.items()}], 1, share)
        short = {
            name: Shortfall(needed[name], quota[name][1] - quota[name][0])
            for name in COUNTED
            if name in quota and needed[name] > quota[name][1] - quota[name][0]
        }
        if short:
            found[tenant] = _shortfalls(short)
    return found


def _judge_cluster(name: str, found: Mapping[str, Any], tenant: str | None = None) -> Judged:
    if found.get("error"):
        return Judged(Verdict.UNKNOWN, f"could not measure cluster {name}: {found['error']}")
    if found["short"]:
        return Judged(Verdict.WAIT, f"cluster {name}: {'; '.join(f'{n} {s}' for n, s in found['short'].items())}")
    tight = {t: s for t, s in found["quotas"].items() if tenant in (None, t)}
    if tight:
        said = "; ".join(
            f"{t}: {', '.join(f'{n} {s}' for n, s in short.items())}" for t, short in list(tight.items())[:3]
        )
        return Judged(Verdict.WAIT, f"quota of {said}")
    needed = ", ".join(f"{n} {amount} of {found['free'][n]}" for n, amount in found["needed"].items())
    return Judged(Verdict.PASS, f"cluster {name} has room: {needed} free")


def _judge_databases(spec: CapacitySpec, scene: GateScene, evidence: Evidence) -> list[Judged]:
    judged = []
    for one, answer in zip(spec.databases, evidence["databases"], strict=True):
        look, what = read(one, answer, scene.now), one.use or "database"
        verdict = {"good": Verdict.PASS, "unknown": Verdict.UNKNOWN}.get(look.kind, Verdict.WAIT)
        judged.append(Judged(verdict, f"{what}: {look.reason}"))
    return judged


def _written(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: format_quantity(amount, binary=name.endswith("memory")) for name, amount in amounts.items()}


def _shortfalls(short: Mapping[str, Shortfall]) -> dict[str, str]:
    said = {}
    for name, one in short.items():
        needed, free, missing = (_amount(name, a) for a in (one.needed, one.free, one.needed - one.free))
        said[name] = f"needs {needed}, {free} is free, {missing} is missing"
    return said


def _amount(name: str, amount: Decimal) -> str:
    return format_quantity(amount, binary=name.endswith("memory"))
