"""A scene for gates that are judged without a rollout."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from controlplane.domain.gating import GateKey
from controlplane.domain.planner import plan
from controlplane.domain.plans import Plan
from controlplane.domain.targets import PlanInputs, ReleaseFacts
from controlplane.ports.gates import GateScene
from tests.domain.fleet import RELEASE, strategy, target, wave

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def planned(*tenants: str, release: ReleaseFacts | None = RELEASE) -> Plan:
    """A plan of one wave that takes these tenants."""
    inputs = PlanInputs(
        kind="deploy",
        app="odoo",
        environment="production",
        strategy=strategy(wave("all", percent="100%")),
        strategy_name="all",
        strategy_version=1,
        targets=[target(name) for name in tenants or ("a", "b")],
        now=NOW,
        release=release,
    )
    return plan(inputs)


def scene(*tenants: str, **changes: Any) -> GateScene:
    """A gate before that wave."""
    made = GateScene(uuid.UUID(int=1), GateKey(0, "before", 0), planned(*tenants), "mia", (), (), NOW, NOW)
    return replace(made, **changes)


def back(*tenants: str) -> GateScene:
    """The same of a rollback."""
    made = scene(*tenants)
    return replace(made, plan=made.plan.model_copy(update={"kind": "rollback"}))
