"""Judging over many rollouts: how changes turned out, and which of several broke something."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import Query, Response

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.routers.looks import Since, parse_since
from controlplane.api.routing import feature_router
from controlplane.domain.outcomes import By, Outcomes
from controlplane.services.blame import Blame, blame_of, read_blame
from controlplane.services.outcomes import outcomes_since

router = feature_router("insight")


@router.get("/v1/outcomes", operation_id="getOutcomes", response_model=Outcomes)
async def get_outcomes(
    call: Annotated[Call, may("changes.read")],
    since: Since = "P30D",
    by: Annotated[By, Query(description="What the groups are; a tenant's tier and brand are today's.")] = "tier",
) -> Response:
    """Say how changes turned out: failure rate, recovery, lead time, frequency, what gates stopped, what was not lost."""
    async with call.platform() as uow:
        return respond(await outcomes_since(uow, parse_since(since or "P30D", uow.now), by))


@router.get("/v1/rollouts/{rollout_id}/blame", operation_id="getRolloutBlame", response_model=Blame)
async def get_blame(rollout_id: uuid.UUID, call: Annotated[Call, may("changes.read")]) -> Response:
    """Say which of the changes that overlapped made this rollout's tenants ill: the vote of now, and verdicts that were acted on."""
    async with call.platform() as uow:
        facts, now = await read_blame(uow, rollout_id), uow.now
    return respond(await blame_of(facts, call.container.calendars, now))
