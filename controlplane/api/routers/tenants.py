"""Tenants: onboarding one or many, reading, changing, and the ends of their lives."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Query, Request, Response

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.operations import Accepted, accepted
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import StrictRoute, feature_router
from controlplane.domain.names import Name
from controlplane.domain.selectors import selector_from
from controlplane.domain.tenant_views import TenantView
from controlplane.domain.tenants import TenantPhase, TenantSpec
from controlplane.ports.uow import UnitOfWork
from controlplane.services import onboarding
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
