"""Operations: the status monitors of long work."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, Query, Request, Response
from fastapi.responses import JSONResponse

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.links import absolute
from controlplane.api.operations import accepted
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import feature_router
from controlplane.domain.errors import NotFoundError
from controlplane.domain.operations import OPERATION_OVER, ItemState
from controlplane.domain.requests import Sentence
from controlplane.domain.tenant_views import ItemView, OperationView
from controlplane.domain.wire import Wire
from controlplane.ports.stores.operations import OperationRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services.operations.cancelling import cancel
from controlplane.services.operations.reads import item_view, operation_of, operation_view

router = feature_router("operations")

_STEPS_FROM = 20
"""Pages of at most so many items show each step too."""


@asynccontextmanager
async def _seen(call: Call, operation_id: uuid.UUID) -> AsyncIterator[tuple[UnitOfWork, OperationRecord]]:
    """Open the operation for who may see it: fleet roles, or the owner of the one tenant it is about."""
    if not call.bound:
        async with call.platform() as uow:
            yield uow, await operation_of(uow, operation_id)
        return
    for tenant in sorted(call.principal.tenants):
        async with call.transaction(tenant) as uow:
            found = await uow.operations.get(operation_id)
            if found is not None:
                yield uow, found
                return
    raise NotFoundError(f"There is no operation {operation_id} that you may see.")


def _items_url(request: Request, operation_id: uuid.UUID) -> str:
    return absolute(request, f"/v1/operations/{operation_id}/items")


@router.get("/v1/operations", operation_id="listOperations", response_model=Page[OperationView])
async def list_operations(
    request: Request, call: Annotated[Call, may("operations.read")], limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List operations, newest first."""
    after = decode(cursor, uuid.UUID)
    async with call.transaction() as uow:
        rows = await uow.operations.page(after[0] if after else None, limit + 1)
    shown = page(
        request,
        rows,
        limit,
        show=lambda r: operation_view(r, _items_url(request, r.id)),
        position=lambda r: [str(r.id)],
    )
    return respond(shown)


@router.get("/v1/operations/{operation_id}", operation_id="getOperation", response_model=OperationView)
async def get_operation(
    request: Request, operation_id: uuid.UUID, call: Annotated[Call, may("operations.read")]
) -> Response:
    """Show where an operation stands; while it is not over, `Retry-After` says when to look again."""
    async with _seen(call, operation_id) as (_, found):
        headers = {} if found.state in OPERATION_OVER else {"Retry-After": "1"}
        return respond(operation_view(found, _items_url(request, operation_id)), headers=headers)


class CancelBody(Wire):
    """Why it is called off, for those who read it later."""

    reason: Sentence = ""


_NO_REASON = CancelBody()


@router.post(
    "/v1/operations/{operation_id}:cancel",
    operation_id="cancelOperation",
    status_code=202,
    response_model=OperationView,
)
async def cancel_operation(
    request: Request,
    operation_id: uuid.UUID,
    key: IdempotencyKey,
    call: Annotated[Call, may("operations.cancel")],
    body: Annotated[CancelBody, Body()] = _NO_REASON,
) -> Response:
    """Call an operation off: nothing more of it starts, what is done stays, and what it holds is given back."""

    async def effect(uow: UnitOfWork) -> Answer:
        found = await cancel(uow, operation_id, actor=call.actor, reason=body.reason)
        return accepted(request, operation_id, operation_view(found, _items_url(request, operation_id)))

    return await once(call, key, effect)


@router.get("/v1/operations/{operation_id}/items", operation_id="listOperationItems", response_model=Page[ItemView])
async def list_items(
    request: Request,
    operation_id: uuid.UUID,
    call: Annotated[Call, may("operations.read")],
    state: Annotated[ItemState | None, Query(description="Items in this state only.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """List an operation's items, each with its problem; pages of at most 20 show each step as well."""
    after = decode(cursor, int)
    async with _seen(call, operation_id) as (uow, _):
        first = after[0] if after else -1
        rows = await uow.operations.items(operation_id, first, limit + 1, state=state.value if state else None)
        with_steps = limit <= _STEPS_FROM and not call.bound
        steps = {
            r.ordinal: await uow.operations.steps(operation_id, r.tenant, r.environment) if with_steps else []
            for r in rows[:limit]
        }
    shown = page(request, rows, limit, show=lambda r: item_view(r, steps[r.ordinal]), position=lambda r: [r.ordinal])
    return respond(shown)


@router.get("/v1/operations/{operation_id}/result", operation_id="getOperationResult", response_model=dict[str, Any])
async def get_result(operation_id: uuid.UUID, call: Annotated[Call, may("operations.read")]) -> Response:
    """Download what an operation made: the export of a tenant."""
    async with _seen(call, operation_id) as (_, found):
        if found.kind == "export" and not call.principal.may("tenants.export"):
            raise NotFoundError("This operation has no result that you may see.")
        content = found.result.get("export")
    if content is None:
        raise NotFoundError(f"Operation {operation_id} has no result to download (yet); it is {found.state}.")
    return JSONResponse(content, headers={"Content-Disposition": f'attachment; filename="{found.tenant}.json"'})
