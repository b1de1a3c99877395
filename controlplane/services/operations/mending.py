"""The stage `mend`: objects that drifted are written again, under the environment's slot and a new epoch like any other change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from controlplane.domain.drift import Drift, wanted_objects
from controlplane.domain.manifests import Manifest, Rendered
from controlplane.domain.operations import ItemState
from controlplane.domain.tiers import WALLS, ClusterSpec
from controlplane.domain.walls_objects import Place, namespace_labels, wall_objects
from controlplane.ports.clusters import Cluster, Fence, Identity
from controlplane.ports.stores.operations import Item, TakenEnvironment
from controlplane.ports.stores.tenants import TenantEvent
from controlplane.services.operations.ledger import Effect, carry_out
from controlplane.services.operations.run import Run
from controlplane.services.tenant_changes import rendered_of


async def mend(run: Run, items: Sequence[Item]) -> None:
    """Write the objects again that each item names."""
    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(_one(run, item))


async def _one(run: Run, item: Item) -> None:
    async def plan(place: TakenEnvironment) -> list[Effect]:
        return await _effects(run, item, place)

    if not await carry_out(run, item, "mend", plan):
        return
    run.move(item, ItemState.SUCCEEDED, "done")
    names = [f"{kind}/{name}" for kind, name in item.spec["objects"]]
    data = {"environment": item.environment, "operation": str(run.operation.id), "objects": names}
    async with run.transaction() as uow:
        record = await uow.tenants.get(item.tenant, lock=True)
        known = next(e.drift for e in record.environments if e.environment == item.environment) if record else {}
        left = Drift(repairs=Drift.model_validate(known).repairs) if known else Drift()
        await uow.tenants.set_drift(item.tenant, item.environment, left.model_dump(mode="json"))
        await uow.tenants.record([TenantEvent(item.tenant, "driftRepaired", data)])
        await uow.operations.save_items(run.operation.id, [item])


async def _effects(run: Run, item: Item, place: TakenEnvironment) -> list[Effect]:
    where = Place(place.tenant, place.environment, place.namespace)
    named = {(kind, name) for kind, name in item.spec["objects"]}
    tier = run.tiers[run.specs[place.tenant].tier]
    classes = run.environments[place.tenant, place.environment].walls.get("classes") or ()
    walls = wall_objects(where, tier, run.clusters.get(place.cluster) or ClusterSpec(), classes)
    async with run.tools.transactions.engine() as uow:
        records = await uow.tenants.apps(item.tenant, contents=True)
    apps: dict[str, Rendered] = {
        one.app: rendered_of(one.content) for one in records if one.environment == item.environment and one.content
    }
    wanted = wanted_objects(walls, apps, (place.tenant, place.environment))
    chosen = [(part, manifest) for key, (part, manifest) in wanted.items() if key in named]
    return [_seal(place, where), *(_apply(place, part, manifest) for part, manifest in chosen)]


def _seal(place: TakenEnvironment, where: Place) -> Effect:
    """The seal also writes the Namespace's labels, Pod Security's among them."""

    async def act(cluster: Cluster, fence: Fence) -> object:
        return await cluster.seal(place.namespace, place.uid or "", fence, namespace_labels(where))

    return Effect("seal", "v1", "Namespace", place.namespace, act)


def _apply(place: TakenEnvironment, part: str, manifest: Manifest) -> Effect:
    identity: Identity = "platform" if part == WALLS else "deployer"

    async def act(cluster: Cluster, fence: Fence) -> object:
        return await cluster.apply(place.namespace, manifest, fence, identity)

    return Effect("apply", manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"], act)
