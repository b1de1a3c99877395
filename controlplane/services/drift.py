"""Judging signs of drift: is the living object as Seawall wrote it, and if not, what follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.domain.drift import Drift, Drifted, Wanted, compare, decide, facts, to_repair, wanted_objects
from controlplane.domain.manifests import Manifest
from controlplane.domain.tenants import TenantPhase
from controlplane.domain.tiers import WALLS, ClusterSpec, TierSpec
from controlplane.domain.walls_objects import Place, namespace_labels, wall_objects
from controlplane.ports.clusters import Cluster, DriftSign, ObjectRef
from controlplane.ports.meters import SILENT, Meters
from controlplane.ports.stores.operations import NewItem, NewOperation
from controlplane.ports.stores.tenants import EnvironmentRecord, TenantEvent, TenantRecord
from controlplane.ports.uow import Transactions, UnitOfWork
from controlplane.services.tenant_changes import rendered_of

REPAIRER = "seawall"
"""Who asks for repairs."""


@dataclass(frozen=True)
class _Case:
    """An environment under suspicion, and what it should hold."""

    record: TenantRecord
    environment: EnvironmentRecord
    tier: TierSpec
    wanted: Wanted
    labels: Mapping[str, str]


@dataclass
class DriftJudge:
    """Judges the signs of one namespace at a time."""

    transactions: Transactions
    meters: Meters = field(default=SILENT)

    async def judge(self, cluster: Cluster, namespace: str, signs: Collection[DriftSign]) -> bool:
        """Compare the objects that signs name, write what is found, and start a repair if the tier says so.

        False: look again later, because a change holds the environment now and may write the object itself. Raises what reading
        from the cluster raises.
        """
        case = await self._case(cluster.name, namespace)
        if case is None:
            return True
        if case.environment.slot_id is not None:
            return False
        known = {(one.kind, one.name): one.by for one in Drift.model_validate(case.environment.drift or {}).objects}
        suspects = known | {(sign.kind, sign.name): sign.by for sign in signs}
        found = [one for key, by in suspects.items() if (one := await _look(cluster, case, key, by)) is not None]
        if not found and not known:
            return True
        return await self._write(case, found)

    async def _case(self, cluster: str, namespace: str) -> _Case | None:
        async with self.transactions.engine() as uow:
            name = await uow.tenants.at(cluster, namespace)
            record = await uow.tenants.get(name) if name else None
            if record is None or record.phase is not TenantPhase.ACTIVE:
                return None
            environment = next(e for e in record.environments if e.namespace == namespace and e.cluster == cluster)
            if not environment.walls or environment.dirty:
                return None
            tier = (await uow.tenants.tiers()).get(record.spec.tier) or TierSpec()
            spec = (await uow.tenants.clusters()).get(cluster) or ClusterSpec()
            apps = await uow.tenants.apps(record.name, contents=True)
        place = Place(record.name, environment.environment, namespace)
        walls = wall_objects(place, tier, spec, environment.walls.get("classes") or ())
        mine = {a.app: rendered_of(a.content) for a in apps if a.environment == environment.environment and a.content}
        wanted = wanted_objects(walls, mine, (record.name, environment.environment))
        return _Case(record, environment, tier, wanted, namespace_labels(place))

    async def _write(self, case: _Case, found: Sequence[Drifted]) -> bool:
        """Write what is known from now on, under the tenant's row: of several workers that see the same, one acts."""
        name, place = case.record.name, case.environment.environment
        async with self.transactions.engine() as uow:
            record = await uow.tenants.get(name, lock=True)
            if record is None or record.phase is not TenantPhase.ACTIVE:
                return True
            now_at = next(e for e in record.environments if e.environment == place)
            if now_at.slot_id is not None or await uow.operations.open_of(name) is not None:
                return False
            known = Drift.model_validate(now_at.drift or {})
            if known.objects == tuple(found) and known.policy == "report":
                return True
            drift = decide(known, found, case.tier.drift, uow.now)
            await uow.tenants.set_drift(name, place, drift.model_dump(mode="json"))
            if not found:
                await uow.tenants.record([TenantEvent(name, "driftEnded", {"environment": place})])
                return True
            await uow.tenants.record([TenantEvent(name, "drifted", {"environment": place, **facts(drift)})])
            if drift.policy == "repair":
                await _repair(uow, case, drift)
        for one in found:
            self.meters.drifted("walls" if one.part == WALLS else "app", drift.policy)
        return True


async def _repair(uow: UnitOfWork, case: _Case, drift: Drift) -> None:
    name, place = case.record.name, case.environment.environment
    objects = [[one.kind, one.name] for one in to_repair(drift, case.tier.drift)]
    items = [NewItem(name, place, {"objects": objects})]
    operation = NewOperation(uow.new_id(), "repair", REPAIRER, tenant=name, items=items)
    await uow.operations.add(operation)
    await uow.tenants.record([TenantEvent(name, "repairAccepted", {"operation": str(operation.id)})])
    detail = {"operation": str(operation.id), "environment": place, **facts(drift)}
    await uow.audit(REPAIRER, "tenants.repair", f"tenant/{name}", tenant=name, detail=detail)
    await uow.wake("operation", str(operation.id), tenant=name)


async def _look(cluster: Cluster, case: _Case, key: tuple[str, str], by: str) -> Drifted | None:
    namespace = case.environment.namespace
    if key == ("Namespace", namespace):
        return await _labels(cluster, case, by)
    if key not in case.wanted:
        return None
    part, wanted = case.wanted[key]
    ref = ObjectRef(wanted["apiVersion"], *key)
    return compare(wanted, await cluster.get(namespace, ref), part, by)


async def _labels(cluster: Cluster, case: _Case, by: str) -> Drifted | None:
    """The Namespace's own labels; one that is gone or another is not drift: targets are deferred with that reason."""
    name = case.environment.namespace
    view = await cluster.read_namespace(name)
    if view is None or view.terminating or view.uid != case.environment.uid:
        return None
    live: Manifest = {"kind": "Namespace", "metadata": {"name": name, "labels": dict(view.labels)}}
    wanted = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(case.labels)}}
    return compare(wanted, {"apiVersion": "v1", **live}, WALLS, by)
