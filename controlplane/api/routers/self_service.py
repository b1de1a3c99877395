"""A tenant owner's whole world: status, schedule, history, quota; putting off a change, and asking for the way back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from fastapi import Request, Response

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.operations import Accepted, accepted
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import feature_router
from controlplane.domain.errors import ConflictError, SeawallError
from controlplane.domain.names import Name
from controlplane.domain.self_service import (
    Deferred,
    DeferRequest,
    HistoryItem,
    RollbackRequest,
    Schedule,
    TenantQuota,
    TenantStatus,
    quota_of,
    schedule_of,
    status_of,
)
from controlplane.domain.tiers import SelfService
from controlplane.ports.stores.self_service import HistoryEntry
from controlplane.ports.uow import UnitOfWork
from controlplane.services import self_service
from controlplane.services.rollouts.prepare import Prepared, prepare
from controlplane.services.rollouts.start import start

router = feature_router("self-service")
_TRIES: Final = 3


async def _allowance(call: Call, tenant: str) -> SelfService:
    """The tier's allowance: read as a fleet role after the caller's right to this tenant was checked, because tiers are nobody's own."""
    call.check_tenant(tenant)
    async with call.platform() as uow:
        return await self_service.allowance_of(uow, tenant)


@router.get("/v1/tenants/{tenant}/status", operation_id="getTenantStatus", response_model=TenantStatus)
async def status(tenant: Name, call: Annotated[Call, may("tenants.read")]) -> Response:
    """Say what runs, what happens now and what comes next. Answered from the registry; `asOf` says how old it is."""
    allowance = await _allowance(call, tenant)
    async with call.transaction(tenant) as uow:
        return respond(status_of(await self_service.row_of(uow, tenant), allowance.defer))


@router.get("/v1/tenants/{tenant}/schedule", operation_id="getTenantSchedule", response_model=Schedule)
async def schedule(tenant: Name, call: Annotated[Call, may("tenants.read")]) -> Response:
    """List all planned changes of the tenant."""
    allowance = await _allowance(call, tenant)
    async with call.transaction(tenant) as uow:
        return respond(schedule_of(await self_service.row_of(uow, tenant), allowance.defer))


@router.get("/v1/tenants/{tenant}/quota", operation_id="getTenantQuota", response_model=TenantQuota)
async def quota(tenant: Name, call: Annotated[Call, may("tenants.read")]) -> Response:
    """Show what is used of every limit, per environment."""
    async with call.transaction(tenant) as uow:
        return respond(quota_of(await self_service.row_of(uow, tenant)))


@router.get("/v1/tenants/{tenant}/history", operation_id="listTenantHistory", response_model=Page[HistoryItem])
async def history(
    request: Request,
    tenant: Name,
    call: Annotated[Call, may("tenants.read")],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List what changed, newest first."""
    before = decode(cursor, datetime, str, str, int)
    async with call.transaction(tenant) as uow:
        await self_service.row_of(uow, tenant)
        rows = await uow.self_service.history(tenant, before, limit + 1)
    shown = page(request, rows, limit, show=_history_item, position=lambda r: [r.at.isoformat(), r.kind, r.id, r.seq])
    return respond(shown)


def _history_item(row: HistoryEntry) -> HistoryItem:
    return HistoryItem(at=row.at, kind=row.kind, id=row.id, seq=row.seq, type=row.type, data=dict(row.data))


@router.post("/v1/tenants/{tenant}:defer", operation_id="deferTenant", response_model=Deferred)
async def defer(
    tenant: Name, body: DeferRequest, key: IdempotencyKey, call: Annotated[Call, may("tenants.defer")]
) -> Response:
    """Put off what is planned, as long as the tenant's tier allows."""
    allowance = await _allowance(call, tenant)

    async def effect(uow: UnitOfWork) -> Answer:
        return Answer(200, await self_service.defer(uow, tenant, body, allowance, actor=call.actor))

    return await once(call, key, effect, transaction=call.transaction(tenant))


@router.post("/v1/tenants/{tenant}:rollback", operation_id="rollBackTenant", status_code=202, response_model=Accepted)
async def roll_back(
    request: Request,
    tenant: Name,
    body: RollbackRequest,
    key: IdempotencyKey,
    call: Annotated[Call, may("tenants.rollback")],
) -> Response:
    """Take one app back to its newest verified revision before the current one; so often a day as the tier allows."""
    await _allowance(call, tenant)  # 404 before anything is planned
    for left in reversed(range(_TRIES)):
        prepared = await _prepared(call, tenant, body)

        async def effect(uow: UnitOfWork, found: Prepared | SeawallError = prepared) -> Answer:
            await self_service.check_rollback_allowance(uow, tenant)
            if isinstance(found, SeawallError):
                raise found
            started = await start(uow, found, actor=call.actor, origin={"kind": "tenant", "tenant": tenant})
            monitor = f"/v1/tenants/{tenant}/status" if call.bound else f"/v1/rollouts/{started.id}"
            return accepted(request, started.id, path=monitor)

        try:
            return await once(call, key, effect, transaction=call.platform())
        except ConflictError as error:
            if error.code != "plan-changed" or not left:
                raise
    raise AssertionError("the last try returns or raises")


async def _prepared(call: Call, tenant: str, body: RollbackRequest) -> Prepared | SeawallError:
    """The plan, or why there is none: raised only once it is known that the key has no first answer to repeat."""
    try:
        return await prepare(call.container.rollout_tools, self_service.rollback_ask(tenant, body))
    except SeawallError as error:
        return error
