"""What an operation leaves behind: the tenants' phases, its result, its last words in the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlplane.domain.errors import ConflictError
from controlplane.domain.operations import ITEM_OVER, ItemState, OperationState, tally
from controlplane.domain.rollouts import check_transition
from controlplane.domain.tenants import PHASE_TRANSITIONS, TenantPhase
from controlplane.ports.stores.operations import Item
from controlplane.ports.stores.tenants import TenantEvent
from controlplane.ports.uow import UnitOfWork
from controlplane.services.operations.run import Run

ENDS: dict[str, TenantPhase] = {
    "onboard": TenantPhase.ACTIVE,
    "batchOnboard": TenantPhase.ACTIVE,
    "suspend": TenantPhase.SUSPENDED,
    "resume": TenantPhase.ACTIVE,
    "offboard": TenantPhase.OFFBOARDED,
}
"""Where an operation takes a tenant whose every item succeeded; other kinds leave the phase alone."""
_WORDS: dict[TenantPhase, str] = {
    TenantPhase.ACTIVE: "activated",
    TenantPhase.OBSERVED: "observed",
    TenantPhase.SUSPENDED: "suspended",
    TenantPhase.OFFBOARDED: "offboarded",
}


async def close_tenants(run: Run) -> None:
    """Write the phase of each tenant whose items are all over; one whose item failed stays where it is, with the reason."""
    if run.operation.kind not in ENDS:
        return
    ended = {name: end for name, end in _ends(run).items() if run.phases[name] != end}
    if not ended:
        return
    async with run.transaction() as uow:
        for end in sorted(set(ended.values())):
            await uow.tenants.set_phase([name for name, one in ended.items() if one == end], *end)
        await uow.tenants.record([_event(run, name, *end) for name, end in sorted(ended.items())])
    run.phases.update(ended)


def _ends(run: Run) -> dict[str, tuple[TenantPhase, str]]:
    by_tenant: dict[str, list[Item]] = {}
    for item in run.items:
        if item.environment:  # a refused line of a batch has none; it may name somebody else's tenant
            by_tenant.setdefault(item.tenant, []).append(item)
    return {
        name: _end(run, name, items)
        for name, items in by_tenant.items()
        if name in run.phases and all(item.state in ITEM_OVER for item in items)
    }


def _end(run: Run, name: str, items: Sequence[Item]) -> tuple[TenantPhase, str]:
    phase, _ = run.phases[name]
    failed = next((item for item in items if item.state is ItemState.FAILED), None)
    if failed is not None:
        detail = (failed.problem or {}).get("detail", "")
        return phase, f"{failed.environment}: {detail}"
    end = TenantPhase.OBSERVED if all(item.stage == "observed" for item in items) else ENDS[run.operation.kind]
    return (phase if phase is end else check_transition(PHASE_TRANSITIONS, phase, end)), ""


def _event(run: Run, name: str, phase: TenantPhase, reason: str) -> TenantEvent:
    change = f"{run.operation.kind}Failed" if reason else _WORDS[phase]
    return TenantEvent(name, change, {"operation": str(run.operation.id), **({"reason": reason} if reason else {})})


async def finish(run: Run, state: OperationState) -> None:
    """Write the operation's end, its result, and the spec of an update that was carried out."""
    counts = tally(item.state for item in run.items)
    result: dict[str, Any] = {"succeeded": counts.succeeded, "failed": counts.failed}
    problem = next((item.problem for item in run.items if item.problem), None)
    failed = state is not OperationState.SUCCEEDED
    async with run.transaction() as uow:
        if run.operation.kind == "update" and not failed:
            await _keep_spec(run, uow)
        await uow.operations.set_state(run.operation.id, state, result=result, problem=problem if failed else None)
        await uow.record("operation", str(run.operation.id), state.value, tenant=run.operation.tenant, data=result)


async def call_off(run: Run) -> None:
    """End the operation because a person wants it to: what is done stays, what is open ends, every slot is free again."""
    async with run.tools.transactions.engine() as uow:
        wish = await uow.operations.cancelled_by(run.operation.id)
    who, why = (wish.actor, wish.reason) if wish else ("somebody", "")
    detail = f"The operation was cancelled by {who}{f': {why}' if why else ''}. What it had done stays as it is."
    for item in run.open:
        run.fail(item, ConflictError(detail, code="operation-cancelled"))
    await _give_back(run)
    await close_tenants(run)
    await finish(run, OperationState.CANCELLED)


async def _give_back(run: Run) -> None:
    places = [(item.tenant, item.environment) for item in run.items if item.environment]
    async with run.transaction() as uow:
        await uow.operations.save_items(run.operation.id, run.items)
        await uow.operations.free_slots(run.operation.id, places)
        await uow.operations.note_commands(run.operation.id)


async def _keep_spec(run: Run, uow: UnitOfWork) -> None:
    for name, spec in run.specs.items():
        await uow.tenants.save(spec)
        await uow.tenants.record([TenantEvent(name, "changed", {"operation": str(run.operation.id)})])
