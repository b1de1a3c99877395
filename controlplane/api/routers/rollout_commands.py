"""Commands to rollouts. Answered only after the commit; from then on nothing is issued under an older word."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Body, Depends, Request, Response
from pydantic import Field

from controlplane.api.dependencies import Call, may
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.operations import accepted
from controlplane.api.routers.rollouts import start_asked
from controlplane.api.routing import feature_router
from controlplane.domain.names import Name
from controlplane.domain.requests import Ask, NoWayBackWord, Sentence
from controlplane.domain.rollout_views import Commanded, StartedView
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState
from controlplane.domain.wire import Wire
from controlplane.ports.uow import UnitOfWork
from controlplane.services.rollouts.commands import Word, begin_draft, give, retry_body
from controlplane.services.rollouts.prepare import prepare
from controlplane.services.rollouts.retry import ask_again, ask_of_draft, head_of

router = feature_router("rollouts")


class Why(Wire):
    """Why, for those who read it later."""

    reason: Sentence = ""


class StartBody(Why):
    """What else a start may need."""

    accept_no_way_back: NoWayBackWord = ""


class AbortBody(Why):
    """What becomes of targets in flight: `finish` lets them end, `rollBack` takes them and what was verified back."""

    in_flight: Literal["finish", "rollBack"] = "finish"


class RetryBody(Why):
    """Which targets; absent: all that failed, were skipped, cancelled or deferred."""

    accept_no_way_back: NoWayBackWord = ""
    tenants: Annotated[list[Name], Field(min_length=1, max_length=10_000)] | None = None


_NO_REASON, _FINISH, _ALL, _START = Why(), AbortBody(), RetryBody(), StartBody()


@dataclass(frozen=True)
class Order:
    """A word to one rollout: whose it is, and the key under which it is given once."""

    request: Request
    rollout_id: uuid.UUID
    key: str
    call: Call

    async def give(self, word: Word, body: dict[str, Any]) -> Response:
        """Append the command, or give the first answer again."""

        async def effect(uow: UnitOfWork) -> Answer:
            return _answer(self.request, await give(uow, self.rollout_id, word, body, self.call.actor))

        return await once(self.call, self.key, effect, transaction=self.call.platform())


def _order(
    request: Request, rollout_id: uuid.UUID, key: IdempotencyKey, call: Annotated[Call, may("rollouts.control")]
) -> Order:
    return Order(request, rollout_id, key, call)


@router.post("/v1/rollouts/{rollout_id}:pause", operation_id="pauseRollout", status_code=202, response_model=Commanded)
async def pause(
    order: Annotated[Order, Depends(_order)],
    body: Annotated[Why, Body()] = _NO_REASON,
) -> Response:
    """Dispatch nothing from now on; what is in flight finishes."""
    return await order.give("pause", {"reason": body.reason})


@router.post(
    "/v1/rollouts/{rollout_id}:resume", operation_id="resumeRollout", status_code=202, response_model=Commanded
)
async def resume(
    order: Annotated[Order, Depends(_order)],
    body: Annotated[Why, Body()] = _NO_REASON,
) -> Response:
    """Go on after a pause."""
    return await order.give("resume", {"reason": body.reason})


@router.post("/v1/rollouts/{rollout_id}:abort", operation_id="abortRollout", status_code=202, response_model=Commanded)
async def abort(
    order: Annotated[Order, Depends(_order)],
    body: Annotated[AbortBody, Body()] = _FINISH,
) -> Response:
    """End it: nothing more starts; what is in flight finishes or goes back."""
    words = {"inFlight": body.in_flight, "reason": body.reason}
    return await order.give("abort", words)


@router.post(
    "/v1/rollouts/{rollout_id}:retry",
    operation_id="retryRollout",
    status_code=202,
    response_model=Commanded | StartedView,
)
async def retry(
    order: Annotated[Order, Depends(_order)],
    body: Annotated[RetryBody, Body()] = _ALL,
) -> Response:
    """Give targets that did not get through the same content again: in this rollout, or in a new one if this one is over."""
    async with order.call.platform() as uow:
        head = await head_of(uow, order.rollout_id)
    if RolloutState(head.state) not in ROLLOUT_OVER:
        return await order.give("retry", retry_body(body.tenants, body.reason, body.accept_no_way_back))

    async def again() -> Ask:
        async with order.call.platform() as uow:
            return await ask_again(uow, head, body.tenants)

    origin: dict[str, object] = {"kind": "retry", "retryOf": str(order.rollout_id), "reason": body.reason}
    return await start_asked(
        order.request, order.call, order.key, again, "start", None, origin, body.accept_no_way_back
    )


@router.post("/v1/rollouts/{rollout_id}:start", operation_id="startDraft", status_code=202, response_model=Commanded)
async def start_draft(
    request: Request,
    rollout_id: uuid.UUID,
    key: IdempotencyKey,
    call: Annotated[Call, may("rollouts.start")],
    body: Annotated[StartBody, Body()] = _START,
) -> Response:
    """Start a draft (a rollout made with `mode: plan`), if what was planned is still what would be done."""
    async with call.platform() as uow:
        head = await head_of(uow, rollout_id)
        ask = await ask_of_draft(uow, rollout_id) if head.state == RolloutState.DRAFT else None
    made = await prepare(call.container.rollout_tools, ask, to_start=False) if ask else None

    async def effect(uow: UnitOfWork) -> Answer:
        plan = made.plan if made else None
        done = await begin_draft(uow, rollout_id, plan, call.actor, body.accept_no_way_back)
        return _answer(request, done)

    return await once(call, key, effect, transaction=call.platform())


def _answer(request: Request, done: Commanded) -> Answer:
    return accepted(request, done.id, done, path=f"/v1/rollouts/{done.id}")
