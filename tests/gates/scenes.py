"""Where a gate stands, for tests that have no rollout."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Never

from controlplane.domain.gating import GateKey
from controlplane.domain.plans import Plan
from controlplane.ports.gates import GatePorts, GateScene, Metrics, Vote

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class NoVotes:
    """Nobody votes here."""

    async def votes(self, *_: object) -> Sequence[Vote]:
        return []


class _NoPlan:
    """A plan of which no gate of these tests may know more than its kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __getattr__(self, name: str) -> Never:
        raise AssertionError(f"the plan was asked for {name}")


def scene(*changed: str, now: datetime = NOW, place: Any = "during", kind: str = "deploy", **more: Any) -> GateScene:
    """A wave that has changed these tenants, ten minutes after it began."""
    no_plan: Any = _NoPlan(kind)
    plan: Plan = no_plan
    values: dict[str, Any] = {
        "rollout_id": uuid.UUID(int=1),
        "key": GateKey(0, place, 0),
        "plan": plan,
        "requested_by": "mia",
        "authors": (),
        "changed": changed,
        "since": now - timedelta(minutes=10),
        "now": now,
        "wave": changed,
    }
    return GateScene(**{**values, **more})


def ports(metrics: Metrics | None, **sources: Metrics) -> GatePorts:
    """What a gate may ask."""
    return GatePorts(NoVotes(), metrics, sources=sources)
