"""Operations as the API shows them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from controlplane.domain.errors import NotFoundError
from controlplane.domain.operations import ItemState
from controlplane.domain.tenant_views import ItemView, OperationView, StepItem, WaitingFor
from controlplane.ports.stores.operations import Item, OperationRecord, StepView
from controlplane.ports.uow import UnitOfWork


async def operation_of(uow: UnitOfWork, operation_id: uuid.UUID) -> OperationRecord:
    """Read an operation. Raises NotFoundError."""
    found = await uow.operations.get(operation_id)
    if found is None:
        raise NotFoundError(f"There is no operation {operation_id} that you may see.")
    return found


def operation_view(found: OperationRecord, items_url: str) -> OperationView:
    """An operation as users see it."""
    return OperationView(
        id=found.id,
        kind=found.kind,
        tenant=found.tenant,
        state=found.state,
        items={ItemState(state): n for state, n in sorted(found.counts.items())},
        items_url=items_url,
        waiting_for=[WaitingFor.model_validate(entry) for entry in found.waiting_for],
        result={k: v for k, v in found.result.items() if k != "export"},
        problem=dict(found.problem) if found.problem else None,
        requested_by=found.requested_by,
        created_at=found.created_at,
        started_at=found.started_at,
        ended_at=found.ended_at,
    )


def item_view(item: Item, steps: Sequence[StepView] = ()) -> ItemView:
    """An item as users see it."""
    waiting = item.memory.get("waiting")
    return ItemView(
        ordinal=item.ordinal,
        line=item.spec.get("line"),
        tenant=item.tenant,
        environment=item.environment,
        state=item.state,
        stage=item.stage,
        problem=dict(item.problem) if item.problem else None,
        waiting_for=WaitingFor.model_validate(waiting) if waiting else None,
        report=item.memory.get("report"),
        installs=item.memory.get("installs", {}),
        steps=[StepItem(**{name: getattr(step, name) for name in StepItem.model_fields}) for step in steps],
    )
