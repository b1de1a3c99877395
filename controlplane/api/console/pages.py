"""The pages: the fleet, rollouts, tenants."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from controlplane.api.dependencies import Call, may
from controlplane.api.paging import Cursor, decode, encode
from controlplane.api.routers.looks import parse_since
from controlplane.api.routing import feature_router
from controlplane.domain.errors import DependencyError, NotFoundError
from controlplane.domain.names import Name
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState, TargetState
from controlplane.domain.selectors import selector_from
from controlplane.domain.self_service import status_of
from controlplane.domain.tenants import TenantPhase
from controlplane.ports.uow import UnitOfWork
from controlplane.services import self_service
from controlplane.services.rollouts.explain import item_of, view_of
from controlplane.services.rollouts.retry import head_of
from controlplane.services.tenants import list_tenants

from .gather import Overview, overview, rollout_page, told_of
from .render import ASSETS, HEADERS, asset, asset_address, link, show
from .route import OpenPage, Page
from .says import commands, wave_lines
from .session import PATH, SEE_OTHER

router = feature_router("console", route_class=Page)
open_router = feature_router("console", route_class=OpenPage)
_ROWS: Final = 50
_POLL_SECONDS: Final = 1.0
_HEARTBEAT_POLLS: Final = 15
_POLLS: Final = 600
_RECENT: Final = timedelta(hours=2)
type Text = Annotated[str, Query(max_length=2000)]


@router.get(PATH, include_in_schema=False)
async def home(
    request: Request,
    call: Annotated[Call, may("whoami.read")],
    since: Annotated[str, Query(max_length=40)] = "PT2H",
    cluster: Text = "",
    app: Text = "",
) -> Response:
    """Show what is stopped and why, what moves, and what changed: the page for whoever is on call."""
    me = call.principal
    if not me.may("changes.read"):
        return _elsewhere(request, call)
    async with call.platform() as uow:
        start = parse_since(since or "PT2H", uow.now)
        found: Overview = await overview(uow, start, cluster or None, app or None, may_see_holds=me.may("holds.read"))
        now = uow.now
    chosen = {"since": since, "cluster": cluster, "app": app}
    key = str(uuid.uuid4())
    return show(request, "fleet.html", title="Fleet", live=True, now=now, found=found, chosen=chosen, key=key)


def _elsewhere(request: Request, call: Call) -> Response:
    """The first page of who does not see the fleet: its own tenants, or its apps' rollouts."""
    mine = sorted(call.principal.tenants)
    if len(mine) == 1 and not call.principal.apps:
        return _see(f"/tenants/{mine[0]}")
    if mine:
        return show(request, "mine.html", title="Your tenants", tenants=mine)
    return _see("/rollouts")


@router.get(f"{PATH}/rollouts", include_in_schema=False)
async def rollouts(
    request: Request,
    call: Annotated[Call, may("rollouts.read")],
    state: Annotated[RolloutState | None, Query()] = None,
    tenant: Text = "",
    cursor: Cursor = None,
) -> Response:
    """List rollouts, newest first."""
    before = decode(cursor, uuid.UUID)
    async with call.platform() as uow:
        heads = await uow.rollouts.heads(
            states=[state] if state else (),
            apps=sorted(call.principal.apps) if call.bound else None,
            tenant=tenant or None,
            before=before[0] if before else None,
            limit=_ROWS + 1,
        )
        now = uow.now
    items = [item_of(head) for head in heads[:_ROWS]]
    chosen = {"state": state.value if state else "", "tenant": tenant}
    more = link("/rollouts", chosen, cursor=encode([items[-1].id])) if len(heads) > _ROWS else ""
    context: dict[str, Any] = {
        "items": items,
        "chosen": chosen,
        "more": more,
        "states": [s.value for s in RolloutState],
    }
    return show(request, "rollouts.html", title="Rollouts", live=not cursor, now=now, **context)


@router.get(f"{PATH}/rollouts/{{rollout_id}}", include_in_schema=False)
async def rollout(
    request: Request,
    rollout_id: uuid.UUID,
    call: Annotated[Call, may("rollouts.read")],
    state: Annotated[TargetState | None, Query()] = None,
    cursor: Cursor = None,
) -> Response:
    """Show one rollout: where it stands, why, its gates with what they measured, its targets, and how it goes back."""
    after: Any = decode(cursor, int, int)
    async with call.platform() as uow:
        head = await head_of(uow, rollout_id)
        if call.bound:
            call.check_app(head.app)
        found = await rollout_page(uow, head, state, after)
        now = uow.now
    view, chosen = found.view, {"state": state.value if state else ""}
    context: dict[str, Any] = {
        "found": found,
        "view": view,
        "waves": wave_lines(view),
        "commands": commands(view),
        "more": link(f"/rollouts/{rollout_id}", chosen, cursor=encode(found.more)) if found.more else "",
        "chosen": chosen,
        "states": [s.value for s in TargetState if view.counts.get(s)],
        "over": RolloutState(view.state) in ROLLOUT_OVER,
        "groups": sorted(call.principal.groups),
        "key": str(uuid.uuid4()),
    }
    title = f"{view.release or view.app} in {len(view.waves)} waves"
    return show(request, "rollout.html", title=title, live=not cursor, now=now, **context)


@router.get(f"{PATH}/tenants", include_in_schema=False)
async def tenants(
    request: Request,
    call: Annotated[Call, may("tenants.read")],
    selector: Text = "",
    phase: Annotated[str, Query(max_length=40)] = "",
    name: Text = "",
    cursor: Cursor = None,
) -> Response:
    """List tenants by name; `name` goes straight to one."""
    if name:
        return _see(f"/tenants/{name}")
    if call.bound:
        return _elsewhere(request, call)
    after = decode(cursor, str)
    wanted = selector_from(selector, "query/selector")
    only = next((p for p in TenantPhase if p.value == phase), None)
    async with call.transaction() as uow:
        rows = await list_tenants(uow, after[0] if after else "", _ROWS + 1, selector=wanted, phase=only)
    chosen = {"selector": selector, "phase": phase}
    more = link("/tenants", chosen, cursor=encode([rows[_ROWS - 1].name])) if len(rows) > _ROWS else ""
    context: dict[str, Any] = {
        "rows": rows[:_ROWS],
        "more": more,
        "chosen": chosen,
        "phases": [p.value for p in TenantPhase],
    }
    return show(request, "tenants.html", title="Tenants", **context)


@router.get(f"{PATH}/tenants/{{tenant}}", include_in_schema=False)
async def tenant(request: Request, tenant: Name, call: Annotated[Call, may("tenants.read")]) -> Response:
    """Show what a tenant runs, what happened to it, what is next and who can act: `seawall why` as a page."""
    call.check_tenant(tenant)
    async with call.platform() as uow:
        allowance = await self_service.allowance_of(uow, tenant)
    async with call.transaction(tenant) as uow:
        found = status_of(await self_service.row_of(uow, tenant), allowance.defer)
        history = await uow.self_service.history(tenant, None, _ROWS)
        newest = await _newest(uow, tenant) if call.principal.may("rollouts.read") and not call.bound else None
        now = uow.now
    context: dict[str, Any] = {
        "found": found,
        "history_rows": [told_of(h.at, h.kind, h.id, h.type, h.data) for h in history],
        "newest": newest,
    }
    return show(request, "tenant.html", title=tenant, live=True, now=now, **context)


async def _newest(uow: UnitOfWork, tenant: str) -> Any:
    """The newest rollout with this tenant among its targets, as its own page shows it."""
    heads = await uow.rollouts.heads(states=(), apps=None, tenant=tenant, before=None, limit=1)
    return view_of(await head_of(uow, heads[0].id), "", uow.now) if heads else None


@router.get(f"{PATH}/live", include_in_schema=False)
async def live(call: Annotated[Call, may("whoami.read")]) -> Response:
    """Tell a page that something changed that its reader may see; the page then asks for itself again."""
    tenant = next(iter(sorted(call.principal.tenants)), None) if not call.principal.may("changes.read") else None
    headers = {**HEADERS, "X-Accel-Buffering": "no"}
    return StreamingResponse(_changes(call, tenant), media_type="text/event-stream", headers=headers)


async def _changes(call: Call, tenant: str | None) -> AsyncIterator[bytes]:
    """A line for each change seen. Ends now and then, so that the browser comes again and its login is checked again."""
    draining, seen = call.container.draining, None
    yield b"retry: 3000\n\n"
    for poll in range(_POLLS):
        try:
            mark = await _newest_change(call, tenant)
        except DependencyError:  # the page says so when it is asked for; the browser tries this again by itself
            return
        if poll and mark != seen:
            yield b"data: changed\n\n"
        elif poll % _HEARTBEAT_POLLS == 0:
            yield b": still here\n\n"
        seen = mark
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(draining.wait(), _POLL_SECONDS)
        if draining.is_set():
            return


async def _newest_change(call: Call, tenant: str | None) -> tuple[Any, ...] | None:
    database = call.container.database
    async with database.tenant(tenant) if tenant else database.platform() as uow:
        newest = await uow.looks.changes(uow.now - _RECENT, None, None, None, 1)
    return (newest[0].at, newest[0].kind, newest[0].id, newest[0].seq) if newest else None


@open_router.get(f"{PATH}/static/{{tag}}/{{name}}", include_in_schema=False)
async def static(tag: str, name: str) -> Response:
    """Give a file that pages load; its address changes with its content."""
    if name not in ASSETS or asset_address(name) != f"{PATH}/static/{tag}/{name}":
        raise NotFoundError("There is no such file; load the page again.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(asset(name), headers=headers, media_type=ASSETS[name])


@router.get(f"{PATH}/{{rest:path}}", include_in_schema=False)
async def nothing(rest: str) -> Response:
    """Answer every other address with a page."""
    raise NotFoundError(f"There is no page {PATH}/{rest}.")


def _see(path: str) -> Response:
    return RedirectResponse(link(path), SEE_OTHER, headers=HEADERS)
