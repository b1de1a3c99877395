"""What counts as drift, and what follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.drift import FIGHT, Drift, Drifted, compare, decide, to_repair, wanted_objects
from controlplane.domain.manifests import Manifest, Rendered
from controlplane.domain.tiers import ClusterSpec, DriftPolicy, TierSpec
from controlplane.domain.walls_objects import Place, wall_objects

NOW = datetime(2026, 11, 24, 23, tzinfo=UTC)
WALL = Drifted(part="walls", kind="ResourceQuota", name="seawall", by="kubectl-edit")
APP = Drifted(part="odoo", kind="ConfigMap", name="settings", by="kubectl-edit")


def quota() -> Manifest:
    objects = wall_objects(Place("a", "production", "a"), TierSpec(), ClusterSpec())
    return next(one for one in objects if one["kind"] == "ResourceQuota")


def test_a_changed_field_and_a_missing_object_are_drift_and_what_the_cluster_added_is_not() -> None:
    wanted = quota()
    served = {**wanted, "status": {"used": {}}, "metadata": {**wanted["metadata"], "uid": "u", "resourceVersion": "7"}}
    assert compare(wanted, served, "walls", "") is None
    changed = {**served, "spec": {"hard": {**wanted["spec"]["hard"], "pods": "2000"}}}
    found = compare(wanted, changed, "walls", "kubectl")
    assert found is not None
    assert (found.at, found.by) == (("/spec/hard/pods",), "kubectl")
    gone = compare(wanted, None, "walls", "")
    assert gone is not None
    assert gone.missing


def test_walls_win_over_an_app_that_names_the_same_object() -> None:
    rendered = Rendered(objects=({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "seawall"}},))
    wanted = wanted_objects([quota()], {"odoo": rendered}, ("a", "production"))
    assert wanted["ResourceQuota", "seawall"][0] == "walls"


def test_walls_are_repaired_and_apps_reported_unless_the_tier_says_otherwise() -> None:
    both = decide(Drift(), [WALL, APP], DriftPolicy(), NOW)
    assert (both.policy, to_repair(both, DriftPolicy())) == ("repair", [WALL])
    assert decide(Drift(), [APP], DriftPolicy(), NOW).policy == "report"
    assert decide(Drift(), [APP], DriftPolicy(apps="repair"), NOW).policy == "repair"
    assert decide(Drift(), [WALL], DriftPolicy(walls="report"), NOW).policy == "report"


def test_a_fight_ends_in_a_report_that_names_the_other_and_may_begin_again_an_hour_later() -> None:
    drift = Drift()
    for n in range(FIGHT):
        drift = decide(drift, [WALL], DriftPolicy(), NOW + timedelta(minutes=n))
        assert drift.policy == "repair"
        drift = decide(drift, [], DriftPolicy(), NOW + timedelta(minutes=n, seconds=30))
    stopped = decide(drift, [WALL], DriftPolicy(), NOW + timedelta(minutes=10))
    assert (stopped.policy, "kubectl-edit changes it again" in stopped.reason) == ("report", True)
    assert decide(stopped, [WALL], DriftPolicy(), NOW + timedelta(hours=2)).policy == "repair"


@given(
    looks=st.lists(st.tuples(st.lists(st.sampled_from([WALL, APP]), unique=True), st.integers(1, 5000)), max_size=30),
    walls=st.sampled_from(["repair", "report"]),
    apps=st.sampled_from(["repair", "report"]),
)
def test_whatever_is_seen_no_environment_is_repaired_more_often_than_a_fight_allows(
    looks: list[tuple[list[Drifted], int]], walls: Any, apps: Any
) -> None:
    drift, now, repairs = Drift(), NOW, list[datetime]()
    policy = DriftPolicy(walls=walls, apps=apps)
    for found, seconds in looks:
        now += timedelta(seconds=seconds)
        drift = decide(drift, found, policy, now)
        assert (drift.since is None) == (not found)
        if drift.policy == "repair":
            repairs.append(now)
            assert all(policy.of(one.part) == "repair" for one in to_repair(drift, policy))
        assert sum(at > now - timedelta(hours=1) for at in repairs) <= FIGHT
