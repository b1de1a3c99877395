"""What somebody on call reads of a change."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.changes import RolloutFacts, tell


def rollout(state: str = "running", kind: str = "deploy", **counts: int) -> RolloutFacts:
    return RolloutFacts("r1", "odoo", "17.0.5", kind, "production", state, ["aks-1", "aks-2"], counts)


def test_a_failed_wave_says_what_stopped_it_where_and_what_takes_the_others_back() -> None:
    facts = rollout(verified=6, soak=2, rolledBack=3, pending=12)
    data = {"wave": "grow-2", "reason": "3 of 6 targets failed, the limit is 1"}
    told = tell("rollout", "r1", "wave-failed", None, data, facts)
    assert told.what == "deploy of odoo/17.0.5 in production"
    assert told.where == ("aks-1", "aks-2")
    assert told.stopped == "3 of 6 targets failed, the limit is 1"
    assert told.way_back == (
        '3 tenants went back already; POST /v1/rollouts/r1:abort {"inFlight": "rollBack"} takes 8 tenants back'
    )


def test_a_targets_change_names_its_tenant_and_its_cluster_alone() -> None:
    data = {"state": "failed", "code": "unhealthy", "reason": "odoo-web not ready"}
    told = tell("rollout", "r1", "target-failed", "lumo-be", data, rollout(verified=1), ["aks-2"])
    assert (told.what.endswith("tenant lumo-be"), told.where, told.stopped) == (True, ("aks-2",), "odoo-web not ready")


@pytest.mark.parametrize(
    ("facts", "back"),
    [
        (rollout("succeeded", verified=1), "a rollout of kind rollback takes 1 tenant back that run it"),
        (
            rollout("failed", stuck=1, rolledBack=2),
            "2 tenants went back already; 1 tenant stuck: retry, or roll back by hand",
        ),
        (rollout("planned", pending=3), ""),
        (rollout("running", "rollback", verified=3), ""),
    ],
)
def test_the_way_back_is_that_of_the_present_moment(facts: RolloutFacts, back: str) -> None:
    assert tell("rollout", "r1", "started", None, {}, facts).way_back == back


@pytest.mark.parametrize(
    ("kind", "change", "data", "stopped", "back"),
    [
        ("freeze", "created", {"reason": "Black Friday"}, "", "DELETE /v1/freezes/x lets forward work start again"),
        ("tenant", "suspended", {}, "", "POST /v1/tenants/x:resume"),
        ("tenant", "drifted", {"policy": "report", "objects": ["ConfigMap/a"]}, "ConfigMap/a", "the next rollout"),
        ("strategy", "changed", {"version": 7}, "", "PUT what version 6 said"),
        ("strategy", "changed", {"version": 1}, "", ""),
        ("release", "registered", {"app": "odoo"}, "", ""),
    ],
)
def test_other_changes_have_ways_back_of_their_own(
    kind: str, change: str, data: dict[str, Any], stopped: str, back: str
) -> None:
    told = tell(kind, "x", change, None, data)
    assert (told.stopped, told.way_back.startswith(back), bool(told.way_back)) == (stopped, True, bool(back))


def test_a_pause_names_who_and_why() -> None:
    told = tell("rollout", "r1", "paused", None, {"by": "person:mia", "reason": "odd latency"}, rollout(verified=1))
    assert told.stopped == "by person:mia: odd latency"
