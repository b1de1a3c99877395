"""Rollouts: preview, start, and their states."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Query, Request, Response

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.links import absolute
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import feature_router
from controlplane.domain.errors import ConflictError, FieldError, InvalidError, SeawallError
from controlplane.domain.identity import check_allowed
from controlplane.domain.names import Name
from controlplane.domain.plans import Plan
from controlplane.domain.preview import Preview, preview_of
from controlplane.domain.preview_targets import PreviewTarget, preview_targets
from controlplane.domain.requests import Ask, RolloutRequest, StartRequest
from controlplane.domain.rollout_views import RolloutItem, RolloutTarget, RolloutView, StartedView, WaveView
from controlplane.domain.rollouts import RolloutState, TargetState
from controlplane.domain.simulations import SimulateRequest, Simulation
from controlplane.ports.stores.rollout_rows import RolloutHead
from controlplane.ports.uow import UnitOfWork
from controlplane.services.blame import newest_verdict
from controlplane.services.emergencies import check_may_take_lane
from controlplane.services.limits import stake_of
from controlplane.services.rollouts import previews, reads
from controlplane.services.rollouts.explain import item_of, view_of
from controlplane.services.rollouts.prepare import Prepared, prepare
from controlplane.services.rollouts.retry import head_of
from controlplane.services.rollouts.simulate import simulate
from controlplane.services.rollouts.start import Mode, start

router = feature_router("rollouts")
_TRIES: Final = 3


@router.post("/v1/rollouts:preview", operation_id="previewRollout", response_model=Preview)
async def preview(request: Request, body: RolloutRequest, call: Annotated[Call, may("rollouts.preview")]) -> Response:
    """Plan a rollout without starting it: who, in which order, at what stake, and how each goes back."""
    preview_id, plan = await previews.preview(call.container.rollout_tools, Ask(body), call.actor)
    return respond(preview_of(plan, absolute(request, f"/v1/rollout-previews/{preview_id}/targets")))


@router.post("/v1/rollouts:simulate", operation_id="simulateRollout", response_model=Simulation)
async def simulate_rollout(body: SimulateRequest, call: Annotated[Call, may("rollouts.preview")]) -> Response:
    """Play a rollout many times against recorded durations and failure rates: when it ends, what stops it, what is at stake."""
    return respond(await simulate(call.container.rollout_tools, body))


@router.get(
    "/v1/rollout-previews/{preview_id}/targets", operation_id="listPreviewTargets", response_model=Page[PreviewTarget]
)
async def list_preview_targets(
    request: Request,
    preview_id: uuid.UUID,
    call: Annotated[Call, may("rollouts.preview")],
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List every target of a preview in the order of the plan, then those left out with the reason. Kept for an hour."""
    after = decode(cursor, int)
    plan = await previews.kept_preview(call.container.rollout_tools, preview_id)
    first = max(0, int(after[0])) if after else 0
    rows = preview_targets(plan)[first : first + limit + 1]
    return respond(page(request, rows, limit, show=lambda r: r, position=lambda r: [r.number]))


@router.post("/v1/rollouts", operation_id="startRollout", status_code=202, response_model=StartedView)
async def start_rollout(
    request: Request, body: StartRequest, key: IdempotencyKey, call: Annotated[Call, may("rollouts.start")]
) -> Response:
    """Start a rollout, or with `mode: plan` leave it as a draft. `ifPlanHash` binds it to what a preview showed."""
    if body.emergency is not None:
        check_allowed(call.principal, "emergencies.start")
        async with call.platform() as uow:
            await check_may_take_lane(uow, body.emergency, call.principal)
        if body.mode == "plan":
            raise InvalidError(
                "An emergency starts now; leave `mode` out.",
                code="invalid-rollout",
                errors=[FieldError("/mode", "an emergency is never a draft")],
            )
    ask = Ask(RolloutRequest.model_validate(body.model_dump(exclude={"if_plan_hash", "mode", "accept_no_way_back"})))
    origin: dict[str, object] = {"kind": "person"}
    accepted = body.accept_no_way_back
    return await start_asked(request, call, key, _constant(ask), body.mode, body.if_plan_hash, origin, accepted)


async def start_asked(
    request: Request,
    call: Call,
    key: str,
    ask: Callable[[], Awaitable[Ask]],
    mode: Mode,
    if_plan_hash: str | None,
    origin: dict[str, object],
    accepted: str = "",
) -> Response:
    """Plan outside of any transaction, then start in the one that keeps the first answer for the key.

    A plan nobody bound by its hash is made again if the fleet moved between planning and writing.
    """
    for left in reversed(range(_TRIES)):
        prepared = await _outcome(call, ask)

        async def effect(uow: UnitOfWork, found: Prepared | SeawallError = prepared) -> Answer:
            if isinstance(found, SeawallError):
                raise found
            started = await start(
                uow, found, actor=call.actor, origin=origin, mode=mode, if_plan_hash=if_plan_hash, accepted=accepted
            )
            return _accepted(request, started.id, started.state, started.plan)

        try:
            return await once(call, key, effect, transaction=call.platform())
        except ConflictError as error:
            if error.code != "plan-changed" or if_plan_hash is not None or not left:
                raise
    raise AssertionError("the last try returns or raises")


async def _outcome(call: Call, ask: Callable[[], Awaitable[Ask]]) -> Prepared | SeawallError:
    """The plan, or why there is none: raised only once it is known that the key has no first answer to repeat."""
    try:
        return await prepare(call.container.rollout_tools, await ask())
    except SeawallError as error:
        return error


def _constant(ask: Ask) -> Callable[[], Awaitable[Ask]]:
    async def given() -> Ask:
        return ask

    return given


def _accepted(request: Request, rollout_id: uuid.UUID, state: str, plan: Plan) -> Answer:
    url = absolute(request, f"/v1/rollouts/{rollout_id}")
    body = StartedView(id=rollout_id, state=state, plan_hash=plan.plan_hash, targets=plan.size, rollout=url)
    return Answer(202, body, {"Location": url, "Operation-Location": url, "Retry-After": "1"})


@router.get("/v1/rollouts", operation_id="listRollouts", response_model=Page[RolloutItem])
async def list_rollouts(
    request: Request,
    call: Annotated[Call, may("rollouts.read")],
    state: Annotated[list[RolloutState] | None, Query(description="Any of these states.")] = None,
    app: Annotated[Name | None, Query()] = None,
    tenant: Annotated[Name | None, Query(description="Only rollouts with this tenant among their targets.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List rollouts, newest first."""
    before = decode(cursor, uuid.UUID)
    apps = [app] if app else None
    if call.bound:
        for name in apps or ():
            call.check_app(name)
        apps = apps or sorted(call.principal.apps)
    async with call.platform() as uow:
        rows = await uow.rollouts.heads(
            states=state or (), apps=apps, tenant=tenant, before=before[0] if before else None, limit=limit + 1
        )
    return respond(page(request, rows, limit, show=item_of, position=lambda r: [r.id]))


@router.get("/v1/rollouts/{rollout_id}", operation_id="getRollout", response_model=RolloutView)
async def get(request: Request, rollout_id: uuid.UUID, call: Annotated[Call, may("rollouts.read")]) -> Response:
    """Show a rollout: where it stands, why, what is next, who can act."""
    return respond(await _view(request, call, rollout_id))


@router.get("/v1/rollouts/{rollout_id}/plan", operation_id="getRolloutPlan", response_model=Preview)
async def get_plan(request: Request, rollout_id: uuid.UUID, call: Annotated[Call, may("rollouts.read")]) -> Response:
    """Show the frozen plan as its preview did."""
    async with call.platform() as uow:
        await visible(uow, call, rollout_id)
        plan = await reads.plan_of(uow, rollout_id)
    return respond(preview_of(plan, absolute(request, f"/v1/rollouts/{rollout_id}/targets")))


@router.get("/v1/rollouts/{rollout_id}/waves", operation_id="listRolloutWaves", response_model=Page[WaveView])
async def list_waves(request: Request, rollout_id: uuid.UUID, call: Annotated[Call, may("rollouts.read")]) -> Response:
    """List the waves in their order; there are never so many that they need pages."""
    return respond(Page[WaveView](items=(await _view(request, call, rollout_id)).waves))


@router.get("/v1/rollouts/{rollout_id}/targets", operation_id="listRolloutTargets", response_model=Page[RolloutTarget])
async def list_targets(
    request: Request,
    rollout_id: uuid.UUID,
    call: Annotated[Call, may("rollouts.read")],
    state: Annotated[list[TargetState] | None, Query(description="Any of these states.")] = None,
    wave: Annotated[Name | None, Query(description="A wave's name.")] = None,
    tenant: Annotated[Name | None, Query()] = None,
    code: Annotated[
        str | None, Query(max_length=63, description="With this code: window is the catch-up list.")
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List the targets in the order of the plan."""
    after = decode(cursor, int, int)
    async with call.platform() as uow:
        await visible(uow, call, rollout_id)
        rows = await uow.rollouts.target_views(
            rollout_id,
            states=state or (),
            wave=wave,
            tenant=tenant,
            code=code,
            after=(int(after[0]), int(after[1])) if after else None,
            limit=limit + 1,
        )
    return respond(page(request, rows, limit, show=reads.target_of, position=lambda r: [r.wave, r.position]))


async def visible(uow: UnitOfWork, call: Call, rollout_id: uuid.UUID) -> None:
    """Raise NotFoundError unless the rollout exists and the caller may see it."""
    app = await reads.app_of(uow, rollout_id)
    if call.bound:
        call.check_app(app)


async def _view(request: Request, call: Call, rollout_id: uuid.UUID) -> RolloutView:
    async with call.platform() as uow:
        head: RolloutHead = await head_of(uow, rollout_id)
        now, breakers, stake = uow.now, await uow.budgets.breakers(), await stake_of(uow, rollout_id)
        blame = await newest_verdict(uow, rollout_id)
    if call.bound:
        call.check_app(head.app)
    return view_of(head, absolute(request, f"/v1/rollouts/{rollout_id}"), now, stake, breakers, blame)
