"""Whether a target may start: one row per reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.domain.admission import ClusterFacts, EnvironmentRow, admit
from controlplane.domain.engine import TargetNow
from controlplane.domain.rollouts import TargetState

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TARGET = TargetNow(
    tenant="acme",
    environment="production",
    namespace="acme",
    cluster="c",
    region="r",
    wave=0,
    position=0,
    content="sha256:1",
    base_revision=3,
    way_back="reapply",
    back_to=3,
    state=TargetState.PENDING,
    since=NOW,
)
ROW = EnvironmentRow(
    "acme", "active", epoch=7, slot_id=None, dirty=False, uid="u", current=3, deferred_until=None, last_number=3
)
HERE = ClusterFacts(reachable=True, uid="u")


def test_a_free_environment_on_its_planned_base_is_admitted() -> None:
    assert admit(TARGET, ROW, HERE, "me", NOW) is None


def test_our_own_slot_does_not_stand_in_our_way() -> None:
    assert admit(TARGET, replace(ROW, slot_id="me"), HERE, "me", NOW) is None


@pytest.mark.parametrize(
    ("row", "how", "code"),
    [
        ({"phase": "offboarding"}, "skip", "offboarding"),
        ({"phase": "suspended"}, "defer", "suspended"),
        ({"deferred_until": NOW + timedelta(hours=1)}, "defer", "tenant-deferred"),
        ({"slot_id": "other"}, "wait", "busy"),
        ({"lent_by": "other"}, "wait", "busy"),
        ({"queued": True}, "wait", "queued"),
        ({"dirty": True}, "defer", "dirty"),
        ({"current": 4}, "skip", "superseded"),
        ({"current": 4, "moved_by_earlier": True}, "rebase", "rebased"),
    ],
)
def test_the_registry_refuses_with_its_reason(row: dict[str, Any], how: str, code: str) -> None:
    refusal = admit(TARGET, replace(ROW, **row), HERE, "me", NOW)
    assert refusal is not None
    assert (refusal.how, refusal.code) == (how, code)
    assert refusal.reason


@pytest.mark.parametrize(
    ("cluster", "how", "code"),
    [
        (ClusterFacts(reachable=False), "wait", "unreachable"),
        (ClusterFacts(reachable=True, uid=None), "defer", "namespace-missing"),
        (ClusterFacts(reachable=True, uid="another"), "defer", "namespace-replaced"),
        (ClusterFacts(reachable=True, uid="u", terminating=True), "defer", "namespace-terminating"),
        (ClusterFacts(reachable=True, uid="u", quota_short="cpu"), "defer", "quota"),
    ],
)
def test_the_cluster_refuses_with_its_reason(cluster: ClusterFacts, how: str, code: str) -> None:
    refusal = admit(TARGET, ROW, cluster, "me", NOW)
    assert refusal is not None
    assert (refusal.how, refusal.code) == (how, code)


def test_a_deferral_that_has_passed_admits() -> None:
    assert admit(TARGET, replace(ROW, deferred_until=NOW), HERE, "me", NOW) is None


def test_a_persons_retry_may_take_a_dirty_environment() -> None:
    assert admit(replace(TARGET, attempt=2), replace(ROW, dirty=True), HERE, "me", NOW) is None


def test_a_locked_row_waits() -> None:
    refusal = admit(TARGET, None, HERE, "me", NOW)
    assert refusal is not None
    assert refusal.how == "wait"


BACK = replace(TARGET, state=TargetState.FAILED, wants="back", revision=4)


def test_a_way_back_is_admitted_while_our_revision_is_on_top() -> None:
    assert admit(BACK, replace(ROW, current=4, slot_id="me", phase="suspended"), HERE, "me", NOW) is None


def test_a_way_back_that_would_undo_another_change_is_refused() -> None:
    refusal = admit(BACK, replace(ROW, current=5), HERE, "me", NOW)
    assert refusal is not None
    assert (refusal.how, refusal.code) == ("strand", "would-undo-another-change")


def test_a_way_back_waits_for_a_cluster_that_does_not_answer() -> None:
    refusal = admit(BACK, replace(ROW, current=4), ClusterFacts(reachable=False), "me", NOW)
    assert refusal is not None
    assert refusal.how == "wait"


def test_a_way_back_into_a_replaced_namespace_ends_as_stranded() -> None:
    refusal = admit(BACK, replace(ROW, current=4), ClusterFacts(reachable=True, uid="another"), "me", NOW)
    assert refusal is not None
    assert refusal.how == "strand"


def test_a_way_back_takes_a_slot_that_was_left_to_it() -> None:
    assert admit(BACK, replace(ROW, current=4, lent_by="other"), HERE, "me", NOW) is None
