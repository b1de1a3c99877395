"""The stages `sleep` and `wake`: a tenant's workloads go to zero, and come back as their revision says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from controlplane.domain.manifests import Manifest, mark
from controlplane.domain.operations import ItemState
from controlplane.domain.scaling import asleep, workloads_of
from controlplane.ports.clusters import Cluster, Fence
from controlplane.ports.stores.operations import Item, TakenEnvironment
from controlplane.services.operations.ledger import Effect, carry_out
from controlplane.services.operations.run import Run
from controlplane.services.tenant_changes import rendered_of


async def sleep(run: Run, items: Sequence[Item]) -> None:
    """Take workloads to zero."""
    await _all(run, items, awake=False)


async def wake(run: Run, items: Sequence[Item]) -> None:
    """Apply workloads as their current revision has them."""
    await _all(run, items, awake=True)


async def _all(run: Run, items: Sequence[Item], *, awake: bool) -> None:
    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(_one(run, item, awake=awake))


async def _one(run: Run, item: Item, *, awake: bool) -> None:
    async def plan(place: TakenEnvironment) -> list[Effect]:
        return [_seal(place), *await _effects(run, item, place, awake=awake)] if place.uid else []

    if await carry_out(run, item, "wake" if awake else "sleep", plan):
        run.move(item, ItemState.SUCCEEDED, "done")
        async with run.transaction() as uow:
            await uow.operations.save_items(run.operation.id, [item])


async def _effects(run: Run, item: Item, place: TakenEnvironment, *, awake: bool) -> list[Effect]:
    async with run.tools.transactions.engine() as uow:
        apps = await uow.tenants.apps(item.tenant, contents=True)
    found = []
    for app in apps:
        if app.environment != item.environment or app.content is None:
            continue
        workloads = workloads_of(rendered_of(app.content).objects)
        wanted = workloads if awake else [asleep(one) for one in workloads]
        found += [_apply(place, one) for one in mark(wanted, item.tenant, item.environment, app.app)]
    return found


def _seal(place: TakenEnvironment) -> Effect:
    async def act(cluster: Cluster, fence: Fence) -> object:
        return await cluster.seal(place.namespace, place.uid or "", fence)

    return Effect("seal", "v1", "Namespace", place.namespace, act)


def _apply(place: TakenEnvironment, manifest: Manifest) -> Effect:
    async def act(cluster: Cluster, fence: Fence) -> object:
        return await cluster.apply(place.namespace, manifest, fence)

    return Effect("apply", manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"], act)
