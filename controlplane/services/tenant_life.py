"""Suspending, resuming, offboarding and exporting a tenant: accepted as operations."""

from __future__ import annotations

import uuid
from typing import Any

from controlplane.domain.errors import ConflictError
from controlplane.domain.operations import OperationKind
from controlplane.domain.rollouts import check_transition
from controlplane.domain.tenants import PHASE_TRANSITIONS, TenantPhase
from controlplane.ports.stores.operations import NewItem, NewOperation
from controlplane.ports.stores.tenants import TenantEvent, TenantRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services.tenant_changes import refuse_if_busy


async def suspend(uow: UnitOfWork, record: TenantRecord, *, actor: str, reason: str) -> uuid.UUID:
    """Take the tenant out of every plan at once and its workloads to zero, as an operation.

    Raises ConflictError `wrong-phase`, `change-in-progress`.
    """
    _expect(record, "suspended", TenantPhase.ACTIVE)
    await _begin(uow, record, TenantPhase.SUSPENDED, reason)
    return await _accept(uow, "suspend", record, actor, {"reason": reason})


async def resume(uow: UnitOfWork, record: TenantRecord, *, actor: str) -> uuid.UUID:
    """Bring a suspended tenant's workloads back, or try a failed onboarding again.

    Raises ConflictError `wrong-phase`, `change-in-progress`.
    """
    _expect(record, "resumed", TenantPhase.SUSPENDED, TenantPhase.ONBOARDING)
    await refuse_if_busy(uow, record)
    if record.phase is TenantPhase.SUSPENDED:
        return await _accept(uow, "resume", record, actor, {})
    return await _accept(uow, "onboard", record, actor, {})


async def offboard(uow: UnitOfWork, record: TenantRecord, *, actor: str) -> uuid.UUID:
    """End a tenant: its namespaces are deleted, its records and its name are kept.

    One whose offboarding failed or was cancelled is tried again. Raises ConflictError `wrong-phase`, `change-in-progress`.
    """
    leaving = TenantPhase.OFFBOARDING
    _expect(record, "offboarded", leaving, *(phase for phase in TenantPhase if leaving in PHASE_TRANSITIONS[phase]))
    if record.phase is leaving:
        await refuse_if_busy(uow, record)
    else:
        await _begin(uow, record, leaving, "")
    return await _accept(uow, "offboard", record, actor, {})


async def export(uow: UnitOfWork, record: TenantRecord, *, actor: str) -> uuid.UUID:
    """Collect the tenant's record and its current manifests, to be downloaded from the operation's result."""
    operation = NewOperation(uow.new_id(), "export", actor, tenant=record.name, items=[NewItem(record.name)])
    return await _write(uow, operation, record, {})


def _expect(record: TenantRecord, word: str, *phases: TenantPhase) -> None:
    if record.phase not in phases:
        some = " or ".join(phases)
        detail = f"Tenant {record.name} is {record.phase}; only one that is {some} can be {word}."
        raise ConflictError(detail, code="wrong-phase")


async def _begin(uow: UnitOfWork, record: TenantRecord, phase: TenantPhase, reason: str) -> None:
    """Change the phase at acceptance, so that no plan takes the tenant any more."""
    await refuse_if_busy(uow, record)
    await uow.tenants.set_phase([record.name], check_transition(PHASE_TRANSITIONS, record.phase, phase), reason)


async def _accept(
    uow: UnitOfWork, kind: OperationKind, record: TenantRecord, actor: str, detail: dict[str, Any]
) -> uuid.UUID:
    creator = await uow.operations.creator_of(record.name)
    spec = {"creator": str(creator)} if creator else {}
    items = [NewItem(record.name, environment.environment, spec) for environment in record.environments]
    return await _write(uow, NewOperation(uow.new_id(), kind, actor, tenant=record.name, items=items), record, detail)


async def _write(uow: UnitOfWork, operation: NewOperation, record: TenantRecord, detail: dict[str, Any]) -> uuid.UUID:
    await uow.operations.add(operation)
    data = {"operation": str(operation.id), **detail}
    await uow.tenants.record([TenantEvent(record.name, f"{operation.kind}Accepted", data)])
    await uow.audit(
        operation.requested_by, f"tenants.{operation.kind}", f"tenant/{record.name}", tenant=record.name, detail=data
    )
    await uow.wake("operation", str(operation.id), tenant=record.name)
    return operation.id
