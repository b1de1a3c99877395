from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.errors import ConflictError, InvalidError
from controlplane.domain.names import digest_of
from controlplane.domain.plan_changes import difference, ensure_startable, ensure_way_back_or_word
from controlplane.domain.planner import plan, resolve_success
from controlplane.domain.plans import Plan
from controlplane.domain.preview import preview_of
from controlplane.domain.quota import Fit, Shortfall
from controlplane.domain.strategies import Success, parse_strategy
from controlplane.domain.targets import Hold, Pin, PlanInputs, ReleaseFacts, TargetProblem
from controlplane.domain.windows import Attached, Span, Worked, windows_of
from tests.domain.fleet import NOW, RELEASE, fleet, inputs, strategy, target, wave

REVISION_42 = {"base_revision": 42, "last_verified_revision": 42}


def excluded(**changes: Any) -> tuple[str, str] | None:
    """Code and sentence for which one target with these facts stays out of a plan; None if it is in."""
    made = plan(inputs([target("shop", **changes), target("other")]))
    found = [e for e in made.excluded if e.tenant == "shop"]
    assert len(found) + sum(t.tenant == "shop" for t in made.targets()) == 1
    return (found[0].code, found[0].detail) if found else None


@pytest.mark.parametrize(
    ("changes", "code", "part"),
    [
        ({"phase": "suspended"}, "suspended", "resumed"),
        ({"phase": "onboarding"}, "onboarding", "newest proven release"),
        ({"phase": "offboarding"}, "offboarding", "leaving"),
        ({"phase": "offboarded"}, "offboarding", "leaving"),
        ({"reachable": False}, "unreachable", "aks-1 does not answer"),
        ({"pin": Pin("Black Friday", "mia", NOW + timedelta(days=3))}, "pinned", "Pinned by mia: Black Friday"),
        ({"pin": Pin("for ever", "mia")}, "pinned", "for ever"),
        ({"hold": Hold("5xx 4%")}, "held", "5xx 4%"),
        ({"problem": TargetProblem("immutable-field", "selector")}, "immutable-field", "selector"),
        ({"desired_content": None}, "nothing-installed", "does not run odoo"),
        ({"desired_content": digest_of("x"), "current_content": digest_of("x")}, "already-there", "Revision 4"),
    ],
)
def test_a_target_that_must_not_go_is_left_out_with_the_reason(changes: dict[str, Any], code: str, part: str) -> None:
    found = excluded(**changes)
    assert found is not None
    assert found[0] == code
    assert part in found[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"pin": Pin("over", "mia", NOW - timedelta(seconds=1))},
        {"pin": Pin("this one", "mia", version="17.0.4")},
        {"desired_content": digest_of("x"), "current_content": digest_of("x"), "last_verified_revision": 3},
        {"base_revision": 0, "last_verified_revision": 0, "current_version": None, "current_content": None},
        {"busy_with": "0199"},
    ],
)
def test_a_reason_that_does_not_hold_leaves_nobody_out(changes: dict[str, Any]) -> None:
    assert excluded(**changes) is None


@pytest.mark.parametrize(
    ("version", "code"),
    [("17.0.2", None), ("17.0.1", "unsafe-upgrade"), (None, None), ("17.0.4", None), ("nightly", "unsafe-upgrade")],
)
def test_upgrade_from_leaves_out_whom_it_does_not_name(version: str | None, code: str | None) -> None:
    release = replace(RELEASE, upgrade_from=">=17.0.2,<17.0.4")
    made = plan(inputs([target("shop", current_version=version)], release=release))
    assert [e.code for e in made.excluded] == ([code] if code else [])


def test_a_held_release_reaches_nobody_until_it_is_lifted() -> None:
    made = plan(inputs(fleet(3), release=replace(RELEASE, hold=Hold("3 of 6 failed"))))
    assert [e.code for e in made.excluded] == ["held"] * 3
    with pytest.raises(InvalidError) as caught:
        ensure_startable(made)
    assert caught.value.code == "nothing-to-do"


def test_a_pin_shows_its_end_in_the_plan() -> None:
    until = NOW + timedelta(days=3)
    made = plan(inputs([target("shop", pin=Pin("sale", "mia", until)), target("other")]))
    assert made.excluded[0].until == until


def test_a_values_change_passes_pins_and_holds() -> None:
    pinned = target("shop", pin=Pin("sale", "mia"), hold=Hold("bad"))
    assert plan(inputs([pinned], kind="values", release=None)).size == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"desired_content": None}, "no-revision-to-return-to"),
        ({"crosses": "forward-only"}, "forward-only"),
        ({"crosses": "restore-required"}, "restore-required"),
        ({"crosses": "reversible"}, None),
        ({"hold": Hold("bad")}, None),
    ],
)
def test_a_rollback_goes_only_where_going_back_is_possible(changes: dict[str, Any], code: str | None) -> None:
    made = plan(inputs([target("shop", **changes)], kind="rollback", release=None))
    assert [e.code for e in made.excluded] == ([code] if code else [])


@pytest.mark.parametrize(
    ("database", "changes", "kind", "revision"),
    [
        ("none", {}, "reapply", 4),
        ("reversible", {}, "reapply", 4),
        ("restore-required", {}, "restore", 4),
        ("forward-only", {}, "none", 4),
        ("none", {"last_verified_revision": 0}, "none", 0),
        ("none", {"unrecreatable": ("StatefulSet/db",)}, "none", 4),
        ("none", {"base_revision": 6, "last_verified_revision": 5}, "reapply", 5),
    ],
)
def test_each_targets_way_back_is_known_before_it_goes(
    database: Any, changes: dict[str, Any], kind: str, revision: int
) -> None:
    made = plan(inputs([target("shop", **changes)], release=replace(RELEASE, database=database)))
    back = made.targets()[0].way_back
    assert (back.kind, back.revision) == (kind, revision)
    assert getattr(made.way_back, kind) == 1
    assert bool(back.reason) is (kind != "reapply")


def test_a_restore_says_how_many_minutes_of_data_it_costs() -> None:
    rules = strategy({"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT1H"}})
    made = plan(inputs([target("shop")], rules, release=replace(RELEASE, database="restore-required")))
    # Migrate 600 s, apply 10 s and verify 180 s at p90, then the hour of soak: 73.2 minutes.
    assert made.targets()[0].way_back.data_loss == timedelta(minutes=74)
    assert "74 minutes" in made.targets()[0].way_back.reason


def test_a_rollback_is_never_rolled_back_by_itself_and_needs_no_approval_for_that() -> None:
    made = plan(inputs([target("shop")], kind="rollback", release=None))
    assert made.targets()[0].way_back.kind == "none"
    assert "no-way-back" not in {n.code for n in made.notes}


def test_only_what_gives_a_verified_revision_up_asks_for_a_persons_word() -> None:
    targets = [target("new", last_verified_revision=0), target("old"), target("db", unrecreatable=("StatefulSet/db",))]
    made = plan(inputs(targets))
    assert [t.tenant for t in made.giving_up()] == ["db"]
    assert [n.detail.split()[0] for n in made.notes if n.code == "no-way-back"] == ["1"]
    with pytest.raises(ConflictError, match="such as db: These objects are pruned") as refused:
        ensure_way_back_or_word(made, "")
    assert (refused.value.code, refused.value.extra) == ("no-way-back", {"count": 1, "tenants": ["db"]})
    ensure_way_back_or_word(made, "rehearsed on staging")
    ensure_way_back_or_word(plan(inputs([target("new", last_verified_revision=0)])), "")


def test_a_planned_target_says_what_it_will_wait_for() -> None:
    busy = target(
        "shop",
        busy_with="0199",
        window_opens=NOW + timedelta(hours=2),
        deferred_until=NOW + timedelta(days=1),
        quota=Fit({"pods": Shortfall(Decimal(9), Decimal(4))}),
    )
    made = plan(inputs([busy]))
    assert [w.gate for w in made.waiting_for] == ["slot", "window", "deferral", "quota"]
    assert "pods needs 9" in made.waiting_for[3].reason
    back = plan(inputs([busy], kind="rollback", release=None))
    assert [w.gate for w in back.waiting_for] == ["slot", "quota"]


def test_targets_no_wave_takes_are_refused_and_at_most_ten_are_named() -> None:
    with pytest.raises(InvalidError) as caught:
        plan(inputs(fleet(30), strategy(wave("pilot", selector="ring=pilot"))))
    assert caught.value.code == "unmatched-targets"
    assert caught.value.extra["count"] == 27
    assert "t00001, t00002" in caught.value.detail
    assert "t00011 and 17 more" in caught.value.detail
    assert "t00012" not in caught.value.detail


def test_targets_no_wave_takes_can_be_left_out_visibly() -> None:
    made = plan(inputs(fleet(30), strategy(wave("pilot", selector="ring=pilot"), unmatched="exclude")))
    assert made.size == 3
    assert {e.code for e in made.excluded} == {"unmatched"}


def test_a_selector_that_matches_nothing_is_refused() -> None:
    with pytest.raises(InvalidError) as caught:
        plan(inputs(fleet(3), selector="country=fr"))
    assert caught.value.code == "selector-matches-nothing"
    with pytest.raises(InvalidError):
        plan(inputs(fleet(3), environment="staging"))


def test_limits_are_numbers_of_this_plans_targets() -> None:
    rules = strategy(limits={"inFlight": ["10%", 20], "unverified": "25%", "perCluster": "30%", "perRegion": 7})
    made = plan(inputs(fleet(41), rules))
    assert (made.limits.in_flight, made.limits.unverified) == (4, 10)
    assert made.limits.per_cluster == {"aks-0": 3, "aks-1": 3, "aks-2": 3, "aks-3": 3}
    assert made.limits.per_region == {"region-0": 7, "region-1": 7}
    assert (made.peak.in_flight, made.peak.unverified) == (4, 10)


def test_excluded_targets_do_not_count_for_percents() -> None:
    targets = [replace(t, phase="suspended") if n >= 20 else t for n, t in enumerate(fleet(100))]
    assert plan(inputs(targets, strategy(limits={"inFlight": "10%"}))).limits.in_flight == 2


def test_the_peak_is_bounded_by_clusters_and_counts_the_largest_tenants() -> None:
    targets = [target(f"t{n}", cluster=f"c{n % 2}", orders_per_hour=Decimal(n)) for n in range(10)]
    rules = strategy(wave("all", percent="100%"), limits={"inFlight": 8, "perCluster": 2})
    peak = plan(inputs(targets, rules)).peak
    assert peak.in_flight == 4
    assert peak.orders_per_hour == Decimal(9 + 8 + 7 + 6)


@pytest.mark.parametrize(
    ("rule", "size", "least", "bears"),
    [
        ({"min": "95%", "maxFailures": 1}, 100, 95, 1),
        ({"min": "95%", "maxFailures": 1}, 1, 1, 1),
        ({"min": "95%"}, 10, 9, 0),
        ({"min": 5}, 3, 3, 0),
        ({"maxFailures": "10%"}, 11, 9, 2),
        ({"maxFailures": 50}, 4, 1, 4),
        ({}, 7, 7, 0),
    ],
)
def test_success_is_a_number_of_verified_targets_and_never_zero(
    rule: dict[str, Any], size: int, least: int, bears: int
) -> None:
    found = resolve_success(Success.model_validate(rule), size)
    assert (found.min, found.max_failures) == (least, bears)


def test_expected_times_follow_the_rounds_a_wave_needs() -> None:
    rules = strategy(
        {"name": "one", "cut": {"count": 1}, "soak": {"for": "PT1H"}},
        {"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT2H"}},
        limits={"inFlight": 2},
    )
    made = plan(inputs(fleet(6), rules, not_before=NOW + timedelta(hours=1)))
    one, rest = made.waves
    # Preflight, apply and verify take 48 s (p50) or 193 s (p90); five targets, two at a time, are three rounds.
    assert one.expected_from == NOW + timedelta(hours=1)
    assert one.expected_by == one.expected_from + timedelta(hours=1, seconds=193)
    assert rest.expected_from == one.expected_from + timedelta(hours=1, seconds=48)
    assert rest.expected_by == one.expected_by + 3 * timedelta(hours=2, seconds=193)
    assert "times-assumed" in {n.code for n in made.notes}


def test_a_wave_ends_no_sooner_than_its_last_window_opens() -> None:
    opens = NOW + timedelta(days=2)
    made = plan(inputs([target("a"), target("b", window_opens=opens)], strategy(wave("all", percent="100%"))))
    assert made.waves[0].expected_by == opens + timedelta(seconds=193)


def test_a_plan_reads_back_as_itself() -> None:
    rules = strategy(limits={"inFlight": 3, "perCluster": 2}, unmatched="last")
    made = plan(inputs([*fleet(20), target("out", phase="suspended"), target("busy", busy_with="x")], rules))
    assert Plan.model_validate(made.model_dump(mode="json")) == made
    assert Plan.model_validate_json(made.model_dump_json()) == made


def test_a_plan_of_a_newer_schema_is_refused() -> None:
    stored = plan(inputs(fleet(2))).model_dump(mode="json")
    with pytest.raises(ValueError, match="schemaVersion"):
        Plan.model_validate({**stored, "schemaVersion": 2})


@settings(max_examples=60)
@given(st.integers(1, 60), st.randoms())
def test_a_plan_does_not_depend_on_the_order_the_facts_come_in(size: int, random: Any) -> None:
    targets = fleet(size)
    shuffled = list(targets)
    random.shuffle(shuffled)
    assert plan(inputs(shuffled)) == plan(inputs(targets))


def same_hash(old: PlanInputs, new: PlanInputs) -> bool:
    """Whether two plans have one hash; the difference has to agree."""
    was, now = plan(old), plan(new)
    same = was.plan_hash == now.plan_hash
    assert (difference(was, now).summary() == "nothing changed") is same
    return same


BASE = inputs(
    fleet(12), strategy(wave("pilot", count=2), wave("all", percent="100%"), limits={"inFlight": 2, "perCluster": 3})
)


def with_target(**changes: Any) -> PlanInputs:
    return replace(BASE, targets=[replace(BASE.targets[0], **changes), *BASE.targets[1:]])


def with_strategy(*waves: dict[str, Any], **rest: Any) -> PlanInputs:
    rest = {"limits": {"inFlight": 2, "perCluster": 3}, **rest}
    return replace(BASE, strategy=strategy(*(waves or (wave("pilot", count=2), wave("all", percent="100%"))), **rest))


@pytest.mark.parametrize(
    "changed",
    [
        with_target(desired_content=digest_of("new")),
        with_target(base_revision=5, last_verified_revision=5),
        with_target(last_verified_revision=3),
        with_target(cluster="aks-9"),
        with_target(phase="suspended"),
        with_target(orders_per_hour=Decimal(10_000)),
        replace(BASE, targets=[*BASE.targets, target("new")]),
        replace(BASE, release=replace(RELEASE, digest=digest_of("other"))),
        replace(BASE, release=replace(RELEASE, database="forward-only")),
        with_strategy(limits={"inFlight": 3, "perCluster": 3}),
        with_strategy(limits={"inFlight": 2, "perCluster": 2}),
        with_strategy(wave("pilot", count=3), wave("all", percent="100%")),
        with_strategy(wave("first", count=2), wave("all", percent="100%")),
        with_strategy({"name": "pilot", "cut": {"count": 2}, "soak": {"for": "PT1H"}}, wave("all", percent="100%")),
        with_strategy(success={"maxFailures": 1}),
        with_strategy(windows={"wait": "PT1H"}),
        with_strategy(onFailure={"then": "continue"}),
    ],
)
def test_the_hash_changes_with_content_order_limits_and_base_revisions(changed: PlanInputs) -> None:
    assert not same_hash(BASE, changed)


@pytest.mark.parametrize(
    "changed",
    [
        replace(BASE, now=NOW + timedelta(hours=5)),
        replace(BASE, not_before=NOW + timedelta(hours=5)),
        replace(BASE, strategy_version=8),
        replace(BASE, targets=[*BASE.targets, target("out", phase="suspended")]),
        replace(BASE, targets=list(reversed(BASE.targets))),
        with_target(busy_with="0199"),
        with_target(labels={"brand": "acme"}),
        with_target(window_opens=NOW + timedelta(days=1)),
        with_strategy(limits={"inFlight": "20%", "perCluster": 3}),
    ],
)
def test_the_hash_does_not_change_with_anything_else(changed: PlanInputs) -> None:
    assert same_hash(BASE, changed)


def test_a_changed_plan_is_refused_with_the_difference() -> None:
    seen = plan(BASE)
    first, second, *others = BASE.targets
    now = plan(replace(BASE, targets=[replace(second, desired_content=digest_of("v")), *others, target("zz-new")]))
    ensure_startable(seen, if_plan_hash=seen.plan_hash, seen=seen)
    with pytest.raises(ConflictError) as caught:
        ensure_startable(now, if_plan_hash=seen.plan_hash, seen=seen)
    assert caught.value.code == "plan-changed"
    assert "1 target joined, 1 target left" in caught.value.detail
    found = caught.value.extra["difference"]
    assert isinstance(found, dict)
    assert (found["joined"], found["left"]) == (["zz-new"], [first.tenant])
    assert second.tenant in {c["tenant"] for c in found["changed"]}
    with pytest.raises(ConflictError, match="not kept any more"):
        ensure_startable(now, if_plan_hash=seen.plan_hash)


def test_a_strategy_that_rejects_busy_targets_does_not_start_on_one() -> None:
    busy = [*fleet(3), target("busy", busy_with="0199")]
    ensure_startable(plan(inputs(busy)))
    with pytest.raises(ConflictError) as caught:
        ensure_startable(plan(inputs(busy, strategy(whenBusy="reject"))))
    assert caught.value.code == "busy"
    assert caught.value.extra["busy"] == ["busy"]


def test_an_empty_wave_is_noted() -> None:
    rules = strategy(wave("pilot", selector="ring=nowhere"), wave("all", percent="100%"))
    assert [n.detail for n in plan(inputs(fleet(3), rules)).notes if n.code == "empty-wave"] == [
        "Wave pilot takes none of these targets; its gates don't apply."
    ]


def test_the_preview_is_the_documented_summary() -> None:
    rules = strategy(limits={"inFlight": ["10%", 20], "unverified": "25%"})
    made = plan(inputs([*fleet(41), target("zed", pin=Pin("sale", "mia", NOW + timedelta(days=1)))], rules))
    body = preview_of(made, "/v1/rollouts/1/targets").model_dump(mode="json")
    assert body["targets"] == 41
    assert body["from"] == {"17.0.3": 41}
    assert body["wayBack"] == {"reapply": 41, "restore": 0, "none": 0}
    assert body["peak"]["inFlight"] == 4
    assert [(w["name"], w["targets"]) for w in body["waves"]] == [
        ("grow-1", 1),
        ("grow-2", 3),
        ("grow-3", 9),
        ("grow-4", 27),
        ("grow-5", 1),
    ]
    assert body["excluded"][0]["code"] == "pinned"
    assert body["planHash"] == made.plan_hash


def test_each_of_ten_thousand_targets_is_planned_once() -> None:
    targets = fleet(10_000)
    rules = strategy(
        wave("pilot", selector="ring=pilot"), wave("grow", growth={"first": 5, "stratifyBy": ["region", "tier"]})
    )
    given_inputs = inputs(targets, rules, release=ReleaseFacts("odoo", "17.0.4", digest_of("x"), ">=17.0.2"))
    planned = [target.tenant for target in plan(given_inputs).targets()]
    assert len(planned) == len(set(planned)) == 10_000


def test_a_later_wave_is_expected_when_a_window_opens_that_is_long_enough_for_it() -> None:
    night = Worked(
        "nights",
        "allow",
        tuple(Span(NOW + timedelta(hours=24 * n), NOW + timedelta(hours=24 * n + 6)) for n in range(9)),
    )
    windows = Attached((windows_of([night], "UTC"),), {"a": 0, "b": 0})
    waves = (
        {**wave("one", count=1), "soak": {"for": "PT5H"}},
        {**wave("two", percent="100%"), "soak": {"for": "PT5H"}},
    )
    asked = inputs([target("a"), target("b")], strategy(*waves), windows=windows)
    one, two = plan(asked).waves
    assert (one.expected_from, two.expected_from) == (NOW, NOW + timedelta(hours=24))
    assert two.expected_by < NOW + timedelta(hours=30)
    never = strategy(*waves, windows={"wait": "PT1H"})
    assert plan(inputs([target("a"), target("b")], never, windows=windows)).waves[1].expected_from < NOW + timedelta(
        hours=24
    )
    ignored = strategy(*waves, windows={"finish": "ignore"})
    assert plan(inputs([target("a"), target("b")], ignored, windows=windows)).waves[1].expected_from < NOW + timedelta(
        hours=6
    )


def test_what_counts_each_target_during_a_wave_is_asked_after_it_too_so_that_the_last_ones_are_counted() -> None:
    counts, measures = {"invariants": {"name": "stock"}}, {"metric": {"use": "traefik-5xx"}}
    before = {"beforeEach": [counts]}
    waves = [{**wave("one", count=1), **before}, {**wave("rest", percent="100%"), **before, "after": [counts]}]
    rules = parse_strategy({"waves": waves, "during": [counts, measures]}, gates=("invariants", "metric"))
    made = plan(inputs(fleet(3), rules))
    assert [w.after for w in made.waves] == [(counts,), (counts,)]
    assert made.during == (counts, measures)
