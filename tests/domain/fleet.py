"""Facts for planner tests: a fleet that is the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from controlplane.domain.names import digest_of
from controlplane.domain.strategies import Strategy, parse_strategy
from controlplane.domain.targets import PlanInputs, ReleaseFacts, TargetFacts

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
RELEASE = ReleaseFacts("odoo", "17.0.4", digest_of("17.0.4"))
TIERS = ("basic", "standard", "premium")


def target(name: str, **changes: Any) -> TargetFacts:
    """One healthy production target on 17.0.3, revision 4, verified."""
    facts = TargetFacts(
        tenant=name,
        environment="production",
        cluster="aks-1",
        region="francecentral",
        tier="standard",
        desired_content=digest_of(name + "17.0.4"),
        current_content=digest_of(name + "17.0.3"),
        current_version="17.0.3",
        base_revision=4,
        last_verified_revision=4,
    )
    return replace(facts, **changes)


def fleet(size: int) -> list[TargetFacts]:
    """So many targets over 3 tiers, 4 clusters and 2 regions; every tenth has `ring=pilot`."""
    return [
        target(
            f"t{n:05}",
            cluster=f"aks-{n % 4}",
            region=f"region-{n % 2}",
            tier=TIERS[n % 3],
            orders_per_hour=Decimal(n * 37 % 101),
            labels={"ring": "pilot"} if n % 10 == 0 else {},
        )
        for n in range(size)
    ]


def strategy(*waves: dict[str, Any], **rest: Any) -> Strategy:
    """A strategy of these waves; without any, growth over everything."""
    return parse_strategy(
        {"waves": list(waves) or [{"name": "grow", "cut": {"growth": {"first": 1, "factor": 3}}}], **rest}
    )


def wave(name: str, **cut: Any) -> dict[str, Any]:
    """A wave with this cut."""
    return {"name": name, "cut": cut}


def inputs(targets: Sequence[TargetFacts], rules: Strategy | None = None, **changes: Any) -> PlanInputs:
    """A deploy of 17.0.4 to these targets."""
    made = PlanInputs(
        kind="deploy",
        app="odoo",
        environment="production",
        strategy=rules or strategy(),
        strategy_name="careful",
        strategy_version=7,
        targets=targets,
        now=NOW,
        release=RELEASE,
    )
    return replace(made, **changes)
