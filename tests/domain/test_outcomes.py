from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from controlplane.domain.outcomes import (
    FAILED,
    GOES_BACK,
    STARTED,
    STUCK,
    VERIFIED,
    WENT_BACK,
    By,
    GateOutcome,
    Outcomes,
    Recorded,
    Restorable,
    TargetEvent,
    Untouched,
    outcomes,
    spread,
)

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
REGISTERED = NOW - timedelta(hours=2)
ACTS = {"r1": 3, "r2": 0, "r3": 2, "r4": 1}


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


def story(
    tenant: str, *steps: tuple[float, str], rollout: str = "r1", code: str = "", tier: str = "gold"
) -> list[TargetEvent]:
    """A target's changes, each so many minutes after NOW."""
    return [
        TargetEvent(
            rollout, tenant, NOW + minutes(at), change, code if change != STARTED else "", "odoo", tier, "", REGISTERED
        )
        for at, change in steps
    ]


def recorded(
    events: Sequence[TargetEvent] = (), untouched: Sequence[Untouched] = (), gates: Sequence[GateOutcome] = ()
) -> Recorded:
    return Recorded(NOW, NOW + timedelta(days=10), "EUR", events, untouched, gates, ACTS)


def of(*events: Sequence[TargetEvent], untouched: Sequence[Untouched] = (), by: By = "tier") -> Outcomes:
    return outcomes(recorded([e for part in events for e in part], untouched), by)


GOOD = ((0, STARTED), (10, VERIFIED))
BAD = ((0, STARTED), (10, FAILED), (11, GOES_BACK), (16, WENT_BACK))


def test_without_history_nothing_is_claimed() -> None:
    fleet = of().fleet
    assert (fleet.deployments, fleet.per_day) == (0, 0)
    assert fleet.change_failure_rate is None
    assert (fleet.lead_time, fleet.recovery_time, fleet.rollback_time) == (None, None, None)
    assert outcomes(replace(recorded(), acts={}), "tier").manual_actions_per_rollout is None


def test_failure_rate_lead_time_and_frequency_count_tenants_changes() -> None:
    fleet = of(story("a", *GOOD), story("b", *GOOD), story("c", *GOOD), story("d", *BAD, code="unhealthy")).fleet
    assert (fleet.deployments, fleet.failed, fleet.change_failure_rate, fleet.per_day) == (4, 1, 0.25, 0.3)
    assert fleet.lead_time is not None
    assert (fleet.lead_time.count, fleet.lead_time.p50) == (3, minutes(130))


def test_recovery_runs_from_the_failure_and_a_way_back_from_its_beginning() -> None:
    fleet = of(story("d", *BAD, code="unhealthy")).fleet
    assert fleet.recovery_time is not None
    assert fleet.rollback_time is not None
    assert (fleet.recovery_time.max, fleet.rollback_time.max, fleet.unrecovered) == (minutes(6), minutes(5), 0)


def test_a_stuck_tenant_has_no_recovery_until_a_retry_is_verified() -> None:
    stuck = story("d", (0, STARTED), (10, FAILED), (11, STUCK), code="unhealthy")
    assert of(stuck).fleet.unrecovered == 1
    assert of(stuck).fleet.recovery_time is None
    retried = of(stuck, story("d", (60, STARTED), (70, VERIFIED))).fleet
    assert retried.recovery_time is not None
    assert (retried.deployments, retried.failed, retried.recovery_time.p50, retried.unrecovered) == (
        2,
        1,
        minutes(60),
        0,
    )


def test_a_tenant_that_goes_back_for_others_or_a_persons_word_is_no_failed_change() -> None:
    for code in ("policy", "aborted", "superseded"):
        fleet = of(story("a", *GOOD, (20, GOES_BACK), (21, WENT_BACK), code=code)).fleet
        assert (fleet.deployments, fleet.failed, fleet.per_day) == (1, 0, 0), code
    judged = of(story("a", *GOOD, (20, GOES_BACK), (21, WENT_BACK), code="gate-failed")).fleet
    assert judged.change_failure_rate == 1


def test_an_attempt_whose_start_was_not_read_and_one_still_on_its_way_count_for_nothing() -> None:
    assert of(story("a", (10, VERIFIED)), story("b", (0, STARTED))).fleet.deployments == 0


def test_groups_are_named_and_sum_up_to_the_fleet() -> None:
    found = of(story("a", *GOOD), story("b", *BAD, tier="silver"), story("c", *GOOD, tier=""))
    assert [(g.name, g.deployments, g.failed) for g in found.groups] == [("-", 1, 0), ("gold", 1, 0), ("silver", 1, 1)]
    assert [g.name for g in of(story("a", *GOOD), story("b", *GOOD), by="tenant").groups] == ["a", "b"]


def test_money_not_lost_is_what_the_untouched_would_have_lost_while_others_ran_it() -> None:
    spared = [Untouched("r1", t, "odoo", "gold", "", Decimal(200)) for t in ("x", "y")]
    long = ((0, STARTED), (20, FAILED), (21, GOES_BACK), (30, WENT_BACK))
    found = of(story("d", *long, code="unhealthy"), untouched=spared)
    assert found.fleet.money_not_lost is not None
    assert found.fleet.money_not_lost.amount == Decimal("200.00")  # 2 tenants x 200 an hour x half an hour
    other = of(story("d", *long, rollout="r2", code="unhealthy"), untouched=spared)
    assert other.fleet.money_not_lost is not None
    assert other.fleet.money_not_lost.amount == 0


def test_money_of_an_unknown_value_is_unknown_not_less() -> None:
    spared = [Untouched("r1", "x", "odoo", "gold", "", None)]
    assert of(story("d", *BAD, code="unhealthy"), untouched=spared).fleet.money_not_lost is None


def test_gates_acts_and_drills() -> None:
    words = [GateOutcome(f"r{n}", "controlGroup", n == 2) for n in range(1, 5)]
    found = outcomes(recorded(gates=words), "tier")
    assert [(g.gate, g.stood, g.stopped, g.share) for g in found.gates] == [("controlGroup", 4, 1, 0.25)]
    assert (found.manual_actions, found.manual_actions_per_rollout) == (6, 1.5)
    assert found.restore_drills is None
    assert "restore-drills" in {note.code for note in found.notes}


def test_a_group_has_the_gates_and_acts_of_the_rollouts_that_reached_it() -> None:
    events = [
        *story("a", *GOOD, rollout="r1"),
        *story("a", *BAD, rollout="r2", code="gate-failed"),
        *story("b", *GOOD, rollout="r1", tier="silver"),
    ]
    spared = [Untouched("r3", "c", "odoo", "silver", "", Decimal(1))]
    words = [GateOutcome("r1", "metric", stopped=False), GateOutcome("r2", "metric", stopped=True)]
    words += [GateOutcome("r3", "approval", stopped=True), GateOutcome("r4", "metric", stopped=True)]
    found = outcomes(recorded(events, spared, words), "tier")
    gold, silver = found.groups
    assert [(g.gate, g.stood, g.stopped) for g in gold.gates] == [("metric", 2, 1)]
    assert [(g.gate, g.stood, g.stopped) for g in silver.gates] == [("approval", 1, 1), ("metric", 1, 0)]
    assert (gold.rollouts, gold.manual_actions_per_rollout) == (2, 1.5)
    assert (silver.rollouts, silver.manual_actions_per_rollout) == (2, 2.5)
    assert [(g.gate, g.stood, g.stopped) for g in found.fleet.gates] == [("approval", 1, 1), ("metric", 3, 2)]


def test_a_release_counts_for_each_of_its_modules_and_one_without_for_none_in_particular() -> None:
    named = [replace(e, modules=("stock", "sale")) for e in story("a", *BAD, code="unhealthy")]
    found = of(named, story("b", *GOOD), by="module")
    assert [(g.name, g.deployments, g.failed) for g in found.groups] == [
        ("sale", 1, 1),
        ("stock", 1, 1),
        ("unnamed", 1, 0),
    ]
    assert found.fleet.deployments == 2


def test_who_was_never_restored_is_not_counted_as_restorable() -> None:
    tenants = [
        Restorable("a", "gold", "acme", ("odoo",), drilled=True),
        Restorable("b", "gold", "acme", ("odoo", "pos"), drilled=False),
        Restorable("c", "basic", "", ("odoo",), drilled=False),
        Restorable("d", "basic", "", (), drilled=False),
    ]
    events = [*story("a", *GOOD), *story("c", *GOOD, tier="basic")]
    found = {by: outcomes(replace(recorded(events), tenants=tenants), by) for by in ("tier", "app", "module")}
    assert found["tier"].restore_drills == 0.25
    assert {g.name: g.restore_drills for g in found["tier"].groups} == {"gold": 0.5, "basic": 0.0}
    assert [g.restore_drills for g in found["app"].groups] == [1 / 3]
    assert [g.restore_drills for g in found["module"].groups] == [None]


def test_percentiles_are_measured_values() -> None:
    found = spread(minutes(n) for n in range(1, 11))
    assert found is not None
    assert (found.count, found.p50, found.p90, found.max) == (10, minutes(5.5), minutes(9), minutes(10))


def test_a_clock_that_went_back_makes_no_time_below_zero() -> None:
    found = spread([minutes(-1), minutes(3)])
    assert found is not None
    assert (found.p50, found.max) == (minutes(1.5), minutes(3))
