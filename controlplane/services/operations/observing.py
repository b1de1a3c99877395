"""The stage `observe`: an existing namespace is read, nothing is written to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from controlplane.domain.adoption import OBSERVED_KINDS, AdoptionReport, report_on
from controlplane.domain.errors import SeawallError
from controlplane.domain.operations import ItemState
from controlplane.ports.stores.operations import Item
from controlplane.services.operations.run import Run


async def observe(run: Run, items: Sequence[Item]) -> None:
    """Read each item's namespace and keep the report in its memory."""
    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(_one(run, item))
    async with run.transaction() as uow:
        await uow.operations.save_items(run.operation.id, items)


async def _one(run: Run, item: Item) -> None:
    try:
        report = await _report(run, item)
    except SeawallError as error:
        run.settle(item, error)
        return
    item.memory["report"] = report.model_dump(mode="json")
    run.move(item, ItemState.SUCCEEDED, "observed")


async def _report(run: Run, item: Item) -> AdoptionReport:
    environment = run.environments[item.tenant, item.environment]
    cluster = await run.cluster(environment.cluster)
    namespace = environment.namespace
    view = await run.call(lambda: cluster.read_namespace(namespace))
    found = [] if view is None else await run.call(lambda: cluster.list_objects(namespace, OBSERVED_KINDS))
    return report_on(namespace, found, run.tiers[run.specs[item.tenant].tier], exists=view is not None)
