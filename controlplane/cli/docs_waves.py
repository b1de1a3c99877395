"""The worked example of docs/explanation/waves.md: a fleet of 24 tenants and what the planner makes of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from controlplane.domain.names import digest_of
from controlplane.domain.planner import plan
from controlplane.domain.plans import Plan, PlannedWave
from controlplane.domain.strategies import parse_strategy
from controlplane.domain.targets import Phase, PhaseDuration, Pin, PlanInputs, ReleaseFacts, TargetFacts

_NOW = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
_BODY: dict[str, object] = {
    "waves": [
        {"name": "pilot", "cut": {"selector": "ring=pilot"}, "soak": {"for": "PT30M"}},
        {
            "name": "grow",
            "cut": {"growth": {"first": 2, "factor": 2, "waves": 2, "stratifyBy": ["tier", "region"]}},
            "soak": {"for": "PT10M"},
        },
    ],
    "unmatched": "last",
    "limits": {"inFlight": ["25%", 20], "unverified": "50%", "perCluster": 3},
    "success": {"min": "95%", "maxFailures": 1},
}
_HISTORY: Mapping[Phase, PhaseDuration] = {
    "preflight": PhaseDuration(1, 2),
    "apply": PhaseDuration(3, 8),
    "verify": PhaseDuration(40, 90),
}


def worked_strategy() -> str:
    """Give the example's strategy as it would be sent."""
    return "```json\n" + _compact(_BODY) + "\n```"


def _compact(body: dict[str, object]) -> str:
    """Write JSON with one line for each wave and each top-level field."""
    lines = []
    for key, value in body.items():
        if isinstance(value, list):
            items = ",\n".join("    " + json.dumps(item) for item in value)
            lines.append(f'  "{key}": [\n{items}\n  ]')
        else:
            lines.append(f'  "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}"


def _fleet() -> list[TargetFacts]:
    tiers, regions = ("basic", "standard", "standard", "premium"), ("francecentral", "germanywestcentral")
    return [
        TargetFacts(
            tenant=f"shop-{n:02}",
            environment="production",
            cluster=f"aks-{n % 3 + 1}",
            region=regions[n % 2],
            tier=tiers[n % 4],
            labels={"ring": "pilot"} if n in (5, 16) else {},
            desired_content=digest_of(f"17.0.4 {n}"),
            current_content=digest_of(f"17.0.3 {n}"),
            current_version={20: "17.0.1", 21: None}.get(n, "17.0.3"),
            base_revision=0 if n == 21 else 41,
            last_verified_revision=0 if n == 21 else 41,
            orders_per_hour=Decimal(20 + n * 53 % 400),
            pin=Pin("spring sale", "mia", _NOW + timedelta(days=7)) if n == 7 else None,
            phase="suspended" if n == 11 else "active",
        )
        for n in range(24)
    ]


def worked_plan() -> Plan:
    """Plan the example."""
    return plan(
        PlanInputs(
            kind="deploy",
            app="odoo",
            environment="production",
            strategy=parse_strategy(_BODY),
            strategy_name="careful",
            strategy_version=1,
            targets=_fleet(),
            now=_NOW,
            release=ReleaseFacts("odoo", "17.0.4", digest_of("17.0.4"), upgrade_from=">=17.0.2"),
            durations=_HISTORY,
        )
    )


def worked_example() -> str:
    """Give the plan of the example as tables."""
    made = worked_plan()
    peak, back, limits = made.peak, made.way_back, made.limits
    return "\n\n".join(
        (
            f"{made.size} of {len(_fleet())} tenants are planned, running {_counts(made.from_versions)}.",
            _table(
                "wave | targets | must verify | may fail | tiers | starts | ends by", [_wave(w) for w in made.waves]
            ),
            "The two growing waves, in their order:",
            _table("wave | tenant | tier | region | orders per hour", _growing(made)),
            "Left out:",
            _table("tenant | code | reason", [f"{e.tenant} | `{e.code}` | {e.detail}" for e in made.excluded]),
            f"Limits: {limits.in_flight} in flight, {limits.unverified} unverified; per cluster {_counts(limits.per_cluster)}.",
            f"Peak: {peak.in_flight} in flight, {peak.unverified} not verified, {peak.orders_per_hour} orders per hour at most.",
            f"Ways back: {back.reapply} reapply, {back.restore} restore, {back.none} none (shop-21 has nothing installed yet).",
        )
    )


def _table(head: str, rows: list[str]) -> str:
    return "\n".join(f"| {line} |" for line in (head, " | ".join("---" for _ in head.split("|")), *rows))


def _growing(made: Plan) -> list[str]:
    waves = [w for w in made.waves if w.name.startswith("grow-")]
    return [f"{w.name} | {t.tenant} | {t.tier} | {t.region} | {t.orders_per_hour}" for w in waves for t in w.targets]


def _wave(wave: PlannedWave) -> str:
    tiers = _counts(dict(sorted(Counter(t.tier for t in wave.targets).items())))
    numbers = f"{len(wave.targets)} | {wave.success.min} | {wave.success.max_failures}"
    return f"{wave.name} | {numbers} | {tiers} | {wave.expected_from:%H:%M} | {wave.expected_by:%H:%M}"


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in found.items())
