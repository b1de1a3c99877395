"""The screens of outcomes and blame."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from rich.console import Console

from controlplane.cli.insight import blame_screen, outcomes_screen
from controlplane.domain.outcomes import STARTED, STUCK, VERIFIED, GateOutcome, Recorded, TargetEvent, outcomes

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ACTS = {"r1": 3, "r2": 2, "r3": 1, "r4": 0}


def test_the_screen_shows_what_was_measured_and_a_dash_for_what_was_not() -> None:
    def event(tenant: str, change: str, minutes: int) -> TargetEvent:
        return TargetEvent("r1", tenant, NOW + timedelta(minutes=minutes), change, "", "odoo", "gold", "", NOW)

    events = [event("a", STARTED, 0), event("a", VERIFIED, 9), event("b", STARTED, 0), event("b", STUCK, 5)]
    gates = [GateOutcome(rollout, "metric", rollout == "r1") for rollout in ACTS]
    found = outcomes(Recorded(NOW, NOW + timedelta(days=1), "EUR", events, [], gates, ACTS), "tier")
    console = Console(width=220, record=True)
    console.print(outcomes_screen(found.model_dump(mode="json", by_alias=True)))
    said = console.export_text()
    for part in (
        "gold",
        "1 (50.0%)",
        "PT9M / PT9M",
        "- +1 open",
        "metric stopped 1 of 4",
        "1.5 acts",
        "metric 1/1",
        "drills    - of tenants",
        "0.00 EUR",
    ):
        assert part in said
    assert Decimal(found.fleet.per_day) == 1


def test_the_screen_of_blame_names_the_change_and_its_votes() -> None:
    windows = [{"hours": h, "after": 3, "before": 0, "vote": 1.386} for h in (1, 24, 72)]
    vote = {
        "what": "deploy of odoo 17.0.4",
        "score": 1.0397,
        "ill": 3,
        "tenants": 4,
        "explains": 1.0,
        "windows": windows,
    }
    console = Console(width=160, record=True)
    console.print(blame_screen({"verdict": "blamed", "reason": "It was [this].", "votes": [vote], "complete": False}))
    said = console.export_text()
    for part in (
        "blamed: It was [this].",
        "deploy of odoo 17.0.4",
        "1.040",
        "3 / 4",
        "100%",
        "1.39",
        "the oldest was left out",
    ):
        assert part in said
