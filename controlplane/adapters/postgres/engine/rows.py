"""A target between its row and its frozen value."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from controlplane.domain.engine import TargetNow
from controlplane.domain.health import Expected
from controlplane.domain.plans import PlannedTarget
from controlplane.domain.rollouts import TargetState

_TIMES = ("soak_since", "sampled_at", "ill_since", "waiting_since", "waits_until", "excused_since", "excused_at")


def memory_of(target: TargetNow) -> dict[str, Any]:
    """What a successor needs beyond the row's own columns and what the start wrote (content, values, way back)."""
    memory: dict[str, Any] = {"way_back": target.way_back, "back_to": target.back_to}
    for name in ("failed", "phase", "wants", "prunes", "samples", "yields_to", "lent"):
        if getattr(target, name):
            memory[name] = getattr(target, name)
    for name in _TIMES:
        if getattr(target, name) is not None:
            memory[name] = getattr(target, name)
    if target.expected:
        memory["expected"] = [[e.kind, e.name, e.uid, e.generation] for e in target.expected]
    return memory


def target_of(row: Any, planned: PlannedTarget, namespace: str) -> TargetNow:
    """A target as its row, its place in the plan and its environment say."""
    memory = (row.memory or {}).get("driver", {})
    return TargetNow(
        tenant=row.tenant,
        environment=row.environment,
        namespace=namespace,
        cluster=planned.cluster,
        region=planned.region,
        wave=row.wave,
        position=row.position,
        content=planned.content,
        base_revision=row.base_revision,
        way_back=memory.get("way_back", planned.way_back.kind),
        back_to=memory.get("back_to", planned.way_back.revision),
        state=TargetState(row.state),
        since=row.since,
        code=row.code,
        reason=row.reason,
        attempt=row.attempt,
        epoch=row.epoch,
        revision=row.revision,
        started_at=row.started_at,
        ended_at=row.ended_at,
        failed=memory.get("failed", False),
        phase=memory.get("phase", ""),
        wants=memory.get("wants", ""),
        prunes=memory.get("prunes", False),
        samples=memory.get("samples", 0),
        yields_to=memory.get("yields_to", ""),
        lent=memory.get("lent", False),
        expected=tuple(Expected(*one) for one in memory.get("expected", [])),
        soak_since=_time(memory, "soak_since"),
        sampled_at=_time(memory, "sampled_at"),
        ill_since=_time(memory, "ill_since"),
        waiting_since=_time(memory, "waiting_since"),
        waits_until=_time(memory, "waits_until"),
        excused_since=_time(memory, "excused_since"),
        excused_at=_time(memory, "excused_at"),
        orders_per_hour=planned.orders_per_hour,
        money_at_risk=planned.money_at_risk,
        brand=planned.brand,
        region_pair=planned.region_pair,
    )


def _time(memory: dict[str, Any], name: str) -> datetime | None:
    return datetime.fromisoformat(memory[name]) if name in memory else None
