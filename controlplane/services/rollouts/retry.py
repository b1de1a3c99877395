"""Doing it again: a draft planned again from the wish it came from, and a finished rollout's left targets as a new rollout."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.requests import Ask, BuiltInStrategy, RepeatedContent, RolloutRequest
from controlplane.ports.stores.rollout_rows import RolloutHead
from controlplane.ports.uow import UnitOfWork

from .builtin import BUILT_IN


async def ask_of_draft(uow: UnitOfWork, rollout_id: uuid.UUID) -> Ask:
    """The wish behind a rollout. Raises NotFoundError."""
    head = await head_of(uow, rollout_id)
    body: dict[str, Any] = dict(head.origin.get("request") or {})
    tenants = body.pop("tenants", None)
    return Ask(
        RolloutRequest.model_validate(body),
        tenants=frozenset(tenants) if tenants is not None else None,
        built_in=_built_in(head),
    )


async def ask_again(uow: UnitOfWork, head: RolloutHead, tenants: Collection[str] | None) -> Ask:
    """The same content once more for targets of a finished rollout that failed, were skipped, cancelled or deferred.

    `tenants` narrows them. Raises ConflictError `nothing-to-retry`.
    """
    left = await uow.rollouts.left_over(head.id, tenants)
    if not left:
        raise ConflictError(
            "No target of it failed, was skipped, cancelled or deferred, so there is nothing to retry.",
            code="nothing-to-retry",
        )
    request = RolloutRequest.model_validate(
        {
            "kind": head.kind,
            "app": head.app,
            "release": f"{head.app}/{head.version}" if head.kind == "deploy" else None,
            "environment": head.environment,
            "strategy": f"{head.strategy}@{head.strategy_version}" if head.strategy_version else head.strategy,
            "reason": head.reason,
            "changeRef": head.change_ref,
        }
    )
    contents = {row.tenant: RepeatedContent(row.content, row.release, row.values_hash, row.attempt + 1) for row in left}
    return Ask(request, tenants=frozenset(contents), built_in=_built_in(head), contents=contents)


async def head_of(uow: UnitOfWork, rollout_id: uuid.UUID) -> RolloutHead:
    """One rollout. Raises NotFoundError."""
    head = await uow.rollouts.head(rollout_id)
    if head is None:
        raise NotFoundError(f"There is no rollout {rollout_id}.")
    return head


def _built_in(head: RolloutHead) -> BuiltInStrategy | None:
    return BUILT_IN.get(head.strategy) if head.strategy_version == 0 else None
