"""Previews: a plan somebody looks at before saying yes. Kept for an hour, so that its targets can be paged."""

from __future__ import annotations

import json
import uuid
import zlib

from controlplane.domain.errors import NotFoundError
from controlplane.domain.names import canonical_json
from controlplane.domain.plans import Plan
from controlplane.domain.requests import Ask
from controlplane.ports.uow import UnitOfWork

from .prepare import prepare
from .tools import RolloutTools

KEPT_SECONDS = 3600


async def preview(tools: RolloutTools, ask: Ask, actor: str) -> tuple[uuid.UUID, Plan]:
    """Plan a rollout without starting it; the id finds the plan again for an hour. Writes no rollout."""
    plan = (await prepare(tools, ask, to_start=False)).plan
    body = zlib.compress(canonical_json(plan.model_dump(mode="json", by_alias=True)), 1)
    async with tools.open() as uow:
        preview_id = uow.new_id()
        await uow.rollouts.save_preview(preview_id, plan.plan_hash, actor, body, KEPT_SECONDS)
    return preview_id, plan


async def kept_preview(tools: RolloutTools, preview_id: uuid.UUID) -> Plan:
    """A preview made within the last hour. Raises NotFoundError `preview-expired`."""
    async with tools.open() as uow:
        body = await uow.rollouts.preview(preview_id)
    if body is None:
        raise NotFoundError("This preview ran out, or never was. Preview again.", code="preview-expired")
    return _read(body)


async def plan_seen(uow: UnitOfWork, plan_hash: str) -> Plan | None:
    """The plan with this hash, if somebody previewed it within the last hour."""
    body = await uow.rollouts.preview_by_hash(plan_hash)
    return None if body is None else _read(body)


def _read(body: bytes) -> Plan:
    return Plan.model_validate(json.loads(zlib.decompress(body)))
