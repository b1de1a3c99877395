"""Tenants: onboarding one or many, reading, changing, and the ends of their lives."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query, Request, Response
from fastapi.responses import JSONResponse

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import IfMatch, check_if_match, etag_of, respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.operations import Accepted, accepted
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import StrictRoute, feature_router
from controlplane.domain.names import Name
from controlplane.domain.selectors import selector_from
from controlplane.domain.tenant_views import TenantView
from controlplane.domain.tenants import TenantPhase, TenantSpec
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire
from controlplane.ports.uow import UnitOfWork
from controlplane.services import onboarding, tenant_changes, tenant_life
from controlplane.services.backpressure import check_room
from controlplane.services.tenants import list_tenants, tenant_of, view_of

BATCH_LIMIT = 20_000_000


class BatchRoute(StrictRoute):
    """NDJSON of thousands of tenants."""

    body_limit = BATCH_LIMIT


router = feature_router("tenants")
batches = feature_router("tenants", route_class=BatchRoute)


@router.post("/v1/tenants", operation_id="onboardTenant", status_code=202, response_model=Accepted)
async def onboard(
    request: Request, body: TenantSpec, key: IdempotencyKey, call: Annotated[Call, may("tenants.onboard")]
) -> Response:
    """Onboard a tenant: its name is reserved at once, its walls and apps follow as an operation."""

    async def effect(uow: UnitOfWork) -> Answer:
        await check_room(uow)
        return accepted(request, await onboarding.onboard(uow, body, actor=call.actor))

    return await once(call, key, effect)


@batches.post("/v1/tenants:batchOnboard", operation_id="batchOnboard", status_code=202, response_model=Accepted)
async def batch_onboard(
    request: Request,
    body: Annotated[bytes, Body(media_type="application/x-ndjson", description="One tenant as JSON per line.")],
    key: IdempotencyKey,
    call: Annotated[Call, may("tenants.onboard")],
) -> Response:
    """Onboard many tenants: one operation, with a result for each line. Bad lines stop no good ones."""

    async def effect(uow: UnitOfWork) -> Answer:
        await check_room(uow)
        return accepted(request, await onboarding.batch_onboard(uow, body, actor=call.actor))

    return await once(call, key, effect)


@router.get("/v1/tenants", operation_id="listTenants", response_model=Page[TenantView])
async def list_all(
    request: Request,
    call: Annotated[Call, may("tenants.read")],
    selector: Annotated[str, Query(max_length=2000, description="Kubernetes label selector.")] = "",
    phase: TenantPhase | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List tenants by name."""
    after = decode(cursor, str)
    wanted = selector_from(selector, "query/selector")
    async with call.transaction() as uow:
        rows = await list_tenants(uow, after[0] if after else "", limit + 1, selector=wanted, phase=phase)
    return respond(page(request, rows, limit, show=view_of, position=lambda r: [r.name]))


@router.get("/v1/tenants/{tenant}", operation_id="getTenant", response_model=TenantView)
async def get(tenant: Name, call: Annotated[Call, may("tenants.read")]) -> Response:
    """Show a tenant."""
    async with call.transaction(tenant) as uow:
        return respond(view_of(await tenant_of(uow, tenant)))


@router.patch(
    "/v1/tenants/{tenant}",
    operation_id="changeTenant",
    response_model=TenantView,
    responses={202: {"model": Accepted, "description": "A cluster follows; the operation says how it goes."}},
)
async def change(
    request: Request,
    tenant: Name,
    patch: Annotated[dict[str, Any], Body(media_type="application/merge-patch+json")],
    call: Annotated[Call, may("tenants.change")],
    if_match: IfMatch = None,
) -> Response:
    """Change a tenant by a JSON merge patch: 200 where the registry alone changes, 202 where its clusters must follow."""
    async with call.transaction(tenant) as uow:
        record = await tenant_of(uow, tenant, lock=True)
        check_if_match(if_match, etag_of(view_of(record)))
        operation = await tenant_changes.change(
            uow, record, tenant_changes.patched(record.spec, patch), actor=call.actor
        )
        if operation is None:
            return respond(view_of(await tenant_of(uow, tenant)))
    answer = accepted(request, operation)
    return JSONResponse(answer.body.model_dump(mode="json") if answer.body else None, 202, dict(answer.headers))


@router.delete("/v1/tenants/{tenant}", operation_id="offboardTenant", status_code=202, response_model=Accepted)
async def offboard(request: Request, tenant: Name, call: Annotated[Call, may("tenants.offboard")]) -> Response:
    """Offboard a tenant: its namespaces are deleted, its records and its name are kept."""
    async with call.transaction(tenant) as uow:
        record = await tenant_of(uow, tenant, lock=True)
        operation = await tenant_life.offboard(uow, record, actor=call.actor)
    answer = accepted(request, operation)
    return JSONResponse(answer.body.model_dump(mode="json") if answer.body else None, 202, dict(answer.headers))


class Suspension(Wire):
    """Why a tenant is suspended."""

    reason: PlainText = ""


@router.post("/v1/tenants/{tenant}:suspend", operation_id="suspendTenant", status_code=202, response_model=Accepted)
async def suspend(
    request: Request,
    tenant: Name,
    key: IdempotencyKey,
    call: Annotated[Call, may("tenants.suspend")],
    body: Suspension | None = None,
) -> Response:
    """Suspend a tenant: no rollout takes it, and its workloads go to zero."""
    reason = body.reason if body else ""

    async def effect(uow: UnitOfWork) -> Answer:
        record = await tenant_of(uow, tenant, lock=True)
        return accepted(request, await tenant_life.suspend(uow, record, actor=call.actor, reason=reason))

    return await once(call, key, effect)


@router.post("/v1/tenants/{tenant}:resume", operation_id="resumeTenant", status_code=202, response_model=Accepted)
async def resume(
    request: Request, tenant: Name, key: IdempotencyKey, call: Annotated[Call, may("tenants.suspend")]
) -> Response:
    """Bring a suspended tenant back as its revisions say, or try a failed onboarding again."""

    async def effect(uow: UnitOfWork) -> Answer:
        record = await tenant_of(uow, tenant, lock=True)
        return accepted(request, await tenant_life.resume(uow, record, actor=call.actor))

    return await once(call, key, effect)


@router.post("/v1/tenants/{tenant}:export", operation_id="exportTenant", status_code=202, response_model=Accepted)
async def export(
    request: Request, tenant: Name, key: IdempotencyKey, call: Annotated[Call, may("tenants.export")]
) -> Response:
    """Collect a tenant's record and current manifests; `GET /v1/operations/{id}/result` gives them once it is done."""

    async def effect(uow: UnitOfWork) -> Answer:
        record = await tenant_of(uow, tenant)
        return accepted(request, await tenant_life.export(uow, record, actor=call.actor))

    return await once(call, key, effect)
