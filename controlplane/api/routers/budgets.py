"""Budgets (what may be touched at once, and what is) and the breakers that close them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path, Query, Request, Response
from pydantic import Field

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import feature_router
from controlplane.domain.breaker import Share, breaker_name, burn_rate
from controlplane.domain.fleet_limits import BreakerSpec
from controlplane.domain.quantities import Amount
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire
from controlplane.ports.stores.budgets import BreakerRecord, BudgetRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services import breakers as service

router = feature_router("budgets")

type BreakerWord = Literal["closed", "open", "halfOpen", "probing"]
BreakerName = Annotated[
    str,
    Path(
        pattern=r"^(fleet|cluster:[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$",
        description="`fleet`, or `cluster:` and a cluster's name.",
    ),
]


class BudgetView(Wire):
    """One budget: a scope, what of it is taken, and its cap (null: counted, not limited)."""

    scope: str = Field(examples=["fleet/inFlight", "cluster:aks-frc-1/inFlight", "fleet/moneyAtRisk"])
    cap: Amount | None
    reserved: Amount
    closed: bool = Field(description="By a freeze of everything.")
    breaker: BreakerWord


class ShareView(Wire):
    """So many of so many."""

    part: int
    of: int


class BreakerView(Wire):
    """A breaker. Open: nothing forward starts on its budget; half-open: one target is let through; probing: it is out."""

    name: str
    state: BreakerWord
    code: str
    reason: str
    since: datetime | None
    by: str
    probe_rollout: str
    probe_tenant: str


class BreakersView(Wire):
    """The breakers that are not closed, the fleet's first (whatever its state), with the rules and what they count now."""

    items: list[BreakerView]
    rules: BreakerSpec
    unhealthy: ShareView = Field(description="Of the fleet.")
    unhealthy_on: dict[str, ShareView] = Field(description="By cluster, where any is.")
    failed: int = Field(description="Failures within the time that the rule `failures` names; 0 without the rule.")
    burn_rate: str | None = Field(description="Of the rule `burn`, over its long window; null without the rule.")


class BreakerReset(Wire):
    """What a person wants of a breaker that is not closed."""

    to: Literal["halfOpen", "closed"] = Field(
        default="halfOpen", description="halfOpen: one target is let through, to try; closed: everything."
    )
    reason: Annotated[PlainText, Field(min_length=1)]


@router.get("/v1/budgets", operation_id="listBudgets", response_model=Page[BudgetView])
async def list_budgets(
    request: Request,
    call: Annotated[Call, may("budgets.read")],
    rollout: Annotated[uuid.UUID | None, Query(description="One rollout's own; absent: all that are shared.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List budgets by scope: their caps, and what is reserved now."""
    after = decode(cursor, str)
    async with call.platform() as uow:
        rows = await uow.budgets.page(rollout, after[0] if after else "", limit + 1)
    return respond(page(request, rows, limit, show=_budget, position=lambda r: [r.scope]))


@router.get("/v1/breakers", operation_id="listBreakers", response_model=BreakersView)
async def list_breakers(call: Annotated[Call, may("breakers.read")]) -> Response:
    """Show the breakers, their rules, and what the rules count now."""
    async with call.platform() as uow:
        found = await service.read_breakers(uow)
    burn = found.spec.burn
    return respond(
        BreakersView(
            items=[_breaker(record) for record in found.records],
            rules=found.spec,
            unhealthy=_share(found.signs.fleet),
            unhealthy_on={name: _share(share) for name, share in sorted(found.signs.clusters.items()) if share.part},
            failed=found.signs.failed,
            burn_rate=f"{burn_rate(found.signs.long, burn.allowed):.2f}" if burn else None,
        )
    )


@router.post("/v1/breakers/{name}:reset", operation_id="resetBreaker", response_model=BreakerView)
async def reset(
    name: BreakerName, body: BreakerReset, key: IdempotencyKey, call: Annotated[Call, may("breakers.reset")]
) -> Response:
    """Let one target through an open breaker, or close it, with a reason."""

    async def effect(uow: UnitOfWork) -> Answer:
        record = await service.reset_breaker(uow, name, to=body.to, reason=body.reason, actor=call.actor)
        return Answer(200, _breaker(record))

    return await once(call, key, effect)


def _budget(record: BudgetRecord) -> BudgetView:
    return BudgetView(**{**vars(record), "breaker": record.breaker or "closed"})


def _breaker(record: BreakerRecord) -> BreakerView:
    shown = {name: value for name, value in vars(record).items() if name not in ("scope", "state", "closed_at")}
    return BreakerView(**shown, name=breaker_name(record.scope), state=record.state or "closed")


def _share(share: Share) -> ShareView:
    return ShareView(part=share.part, of=share.of)
