"""Calling an operation off: a command to its driver, in force from the commit on."""

from __future__ import annotations

import uuid

from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.operations import OPERATION_OVER, OperationState
from controlplane.ports.stores.operations import OperationRecord
from controlplane.ports.uow import UnitOfWork


async def cancel(uow: UnitOfWork, operation_id: uuid.UUID, *, actor: str, reason: str) -> OperationRecord:
    """Ask the operation's driver to end it; no step is issued after this is committed. Saying it again changes nothing.

    What was done stays. Open items end with the problem `operation-cancelled`, and the environments it holds are free again. A
    rollout that it started goes on: abort that one. Raises NotFoundError, ConflictError `operation-over`.
    """
    state = await uow.operations.lock(operation_id)
    if state in OPERATION_OVER and state is not OperationState.CANCELLED:
        raise ConflictError(
            f"Operation {operation_id} is over ({state}), so there is nothing to cancel.", code="operation-over"
        )
    if state not in (None, OperationState.CANCELLED) and await uow.operations.cancelled_by(operation_id) is None:
        await uow.operations.cancel(operation_id, actor, reason)
        found = await _read(uow, operation_id)
        subject, detail = f"operation/{operation_id}", {"kind": found.kind, "reason": reason}
        await uow.audit(actor, "operations.cancel", subject, tenant=found.tenant, detail=detail)
        await uow.wake("operation", str(operation_id), tenant=found.tenant or "_fleet")
    return await _read(uow, operation_id)


async def _read(uow: UnitOfWork, operation_id: uuid.UUID) -> OperationRecord:
    found = await uow.operations.get(operation_id)
    if found is None:
        raise NotFoundError(f"There is no operation {operation_id} that you may see.")
    return found
