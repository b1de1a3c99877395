"""The stage `leave`: a tenant's namespace is deleted by its uid, and looked at until it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from controlplane.domain.errors import SeawallError
from controlplane.domain.names import INSTALLATION_ANNOTATION, OPERATION_ANNOTATION
from controlplane.domain.operations import ItemState
from controlplane.ports.clusters import Cluster, Fence, NamespaceView
from controlplane.ports.stores.operations import Item, TakenEnvironment
from controlplane.services.operations.ledger import Effect, carry_out
from controlplane.services.operations.run import Run


async def leave(run: Run, items: Sequence[Item]) -> None:
    """Delete each item's namespace, if it is ours; the item is over once it is gone."""
    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(_one(run, item))


async def _one(run: Run, item: Item) -> None:
    try:
        view = await _ours(run, item)
    except SeawallError as error:
        run.settle(item, error)
        await _save(run, item)
        return
    if view is None:
        run.move(item, ItemState.SUCCEEDED, "done")
    elif view.terminating:
        run.wait(item, "namespace", f"Namespace {view.name} is being deleted by the cluster.")
        item.memory["tries"] = 0  # it goes on by itself; looking more rarely would only be slower
    else:
        await _delete(run, item, view)
        return
    await _save(run, item)


async def _ours(run: Run, item: Item) -> NamespaceView | None:
    """The namespace if it is there and is the one we made or adopted: known by uid, or by what its creation carries."""
    environment = run.environments[item.tenant, item.environment]
    cluster = await run.cluster(environment.cluster)
    view = await run.call(lambda: cluster.read_namespace(environment.namespace))
    if view is None or environment.uid == view.uid:
        return view
    made_by = (view.annotations.get(INSTALLATION_ANNOTATION), view.annotations.get(OPERATION_ANNOTATION))
    mine = environment.uid is None and made_by == (str(run.installation), str(item.spec.get("creator")))
    return view if mine else None


async def _delete(run: Run, item: Item, view: NamespaceView) -> None:
    async def plan(place: TakenEnvironment) -> list[Effect]:
        async def seal(cluster: Cluster, fence: Fence) -> object:
            return await cluster.seal(place.namespace, view.uid, fence)

        async def delete(cluster: Cluster, fence: Fence) -> object:
            return await cluster.delete_namespace(place.namespace, view.uid, fence)

        return [
            Effect("seal", "v1", "Namespace", place.namespace, seal),
            Effect("delete", "v1", "Namespace", place.namespace, delete),
        ]

    if await carry_out(run, item, "leave", plan):
        run.wait(item, "namespace", f"Namespace {view.name} is being deleted by the cluster.")
        item.memory["tries"] = 0
        await _save(run, item)


async def _save(run: Run, item: Item) -> None:
    async with run.transaction() as uow:
        await uow.operations.save_items(run.operation.id, [item])
