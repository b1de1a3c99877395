"""The stage `export`: a tenant's record and its current manifests, as the registry has them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from controlplane.domain.errors import NotFoundError
from controlplane.domain.operations import ItemState, OperationState
from controlplane.ports.stores.operations import Item
from controlplane.ports.uow import UnitOfWork
from controlplane.services.operations.run import Run
from controlplane.services.tenant_changes import rendered_of
from controlplane.services.tenants import view_of


async def export(run: Run, items: Sequence[Item]) -> None:
    """Write the export into the operation's result."""
    for item in items:
        async with run.transaction() as uow:
            content = await exported(uow, item.tenant)
            run.move(item, ItemState.SUCCEEDED, "done")
            kept = {"export": content}
            await uow.operations.set_state(run.operation.id, OperationState.RUNNING, due_in=timedelta(0), result=kept)
            await uow.operations.save_items(run.operation.id, [item])


async def exported(uow: UnitOfWork, tenant: str) -> dict[str, Any]:
    """All that the registry has of a tenant: its record, and per environment and app what runs, with manifests for plain kubectl."""
    record = await uow.tenants.get(tenant)
    if record is None:
        raise NotFoundError(f"There is no tenant {tenant!r}.")
    apps = [
        {
            "environment": app.environment,
            "app": app.app,
            "release": app.release_version,
            "revision": app.revision,
            "verifiedRevision": app.verified_revision,
            "values": dict(app.values),
            "manifests": list(rendered_of(app.content).objects) if app.content else [],
        }
        for app in await uow.tenants.apps(tenant, contents=True)
    ]
    return {"exportedAt": uow.now.isoformat(), "tenant": view_of(record).model_dump(mode="json"), "apps": apps}
