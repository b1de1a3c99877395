"""What a target's change means for its slot, its revision, its app and the budgets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.consequences import consequence_of
from controlplane.domain.engine import TargetNow
from controlplane.domain.rollouts import TargetState
from tests.domain.test_admission import NOW, TARGET

S = TargetState
GOING = replace(TARGET, revision=4, started_at=NOW)


def at(state: TargetState, **changes: object) -> TargetNow:
    return replace(GOING, state=state, **changes)  # type: ignore[arg-type]  # any field


def test_an_apply_that_came_back_marks_the_revision_as_applied_and_keeps_the_slot() -> None:
    found = consequence_of(at(S.APPLY, phase="apply"), at(S.VERIFY))
    assert (found.revision_state, found.free_slot, found.give_back) == ("applied", False, None)


def test_a_verified_target_frees_its_slot_and_becomes_last_known_good() -> None:
    found = consequence_of(at(S.SOAK), at(S.VERIFIED))
    assert (found.free_slot, found.dirty, found.revision_state) == (True, False, "verified")
    assert (found.verified, found.runs, found.give_back) == (4, None, "verified")


def test_a_verified_target_that_still_prunes_keeps_its_slot_until_the_prune_is_done() -> None:
    pruning = at(S.VERIFIED, wants="prune")
    assert not consequence_of(at(S.SOAK), pruning).free_slot
    assert consequence_of(at(S.SOAK), pruning).verified == 4
    done = consequence_of(at(S.VERIFIED, phase="prune"), at(S.VERIFIED))
    assert (done.free_slot, done.give_back, done.verified) == (True, "verified", None)


def test_a_failed_target_with_a_way_back_keeps_its_slot_and_reservations() -> None:
    found = consequence_of(at(S.VERIFY), at(S.FAILED, wants="back", failed=True))
    assert (found.free_slot, found.revision_state, found.give_back) == (False, "failed", None)


def test_a_target_that_went_back_runs_its_last_verified_revision_again() -> None:
    found = consequence_of(at(S.ROLLING_BACK), at(S.ROLLED_BACK))
    assert (found.free_slot, found.dirty, found.revision_state) == (True, False, "left")
    assert (found.runs, found.verified, found.give_back) == (3, 3, "rolledBack")


def test_a_stuck_target_leaves_its_environment_dirty() -> None:
    found = consequence_of(at(S.ROLLING_BACK), at(S.STUCK))
    assert (found.free_slot, found.dirty, found.give_back) == (True, True, "stuck")


@pytest.mark.parametrize("state", [S.SKIPPED, S.CANCELLED, S.DEFERRED])
def test_a_target_that_never_started_changes_nothing_but_itself(state: TargetState) -> None:
    assert consequence_of(TARGET, replace(TARGET, state=state)).empty
