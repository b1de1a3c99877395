"""Transition tables: what they promise about every state."""

from __future__ import annotations

from enum import StrEnum

import pytest

from controlplane.domain.rollouts import (
    ROLLOUT_OVER,
    ROLLOUT_TRANSITIONS,
    TARGET_FORWARD,
    TARGET_IN_FLIGHT,
    TARGET_SETTLED,
    TARGET_TRANSITIONS,
    WAVE_TRANSITIONS,
    RolloutState,
    TargetState,
    TransitionError,
    WaveState,
    check_transition,
)


def _reachable(table: dict[str, frozenset[str]], start: str) -> set[str]:
    seen, todo = {start}, [start]
    while todo:
        for state in table[todo.pop()]:
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return seen


@pytest.mark.parametrize(
    ("table", "states", "start"),
    [
        (ROLLOUT_TRANSITIONS, RolloutState, RolloutState.DRAFT),
        (WAVE_TRANSITIONS, WaveState, WaveState.PENDING),
        (TARGET_TRANSITIONS, TargetState, TargetState.PENDING),
    ],
)
def test_every_state_has_a_row_and_can_be_reached(
    table: dict[str, frozenset[str]], states: type[StrEnum], start: str
) -> None:
    assert set(table) == set(states)
    assert _reachable(table, start) == set(states)


@pytest.mark.parametrize("state", list(RolloutState))
def test_every_rollout_can_come_to_an_end(state: RolloutState) -> None:
    assert _reachable(dict(ROLLOUT_TRANSITIONS), state) & ROLLOUT_OVER  # type: ignore[arg-type]  # StrEnum keys are strings


@pytest.mark.parametrize("state", list(TargetState))
def test_every_target_is_waiting_in_flight_or_settled(state: TargetState) -> None:
    kinds = [state is TargetState.PENDING, state in TARGET_IN_FLIGHT, state in TARGET_SETTLED]
    assert kinds.count(True) == 1


@pytest.mark.parametrize("state", sorted(TARGET_FORWARD))
def test_whatever_goes_forward_can_fail_and_only_a_failed_or_verified_target_goes_back(state: TargetState) -> None:
    assert TargetState.FAILED in TARGET_TRANSITIONS[state]
    assert TargetState.ROLLING_BACK not in TARGET_TRANSITIONS[state]


def test_a_change_that_the_table_does_not_hold_is_refused() -> None:
    with pytest.raises(TransitionError, match="verified -> apply"):
        check_transition(TARGET_TRANSITIONS, TargetState.VERIFIED, TargetState.APPLY)
    assert check_transition(TARGET_TRANSITIONS, TargetState.SOAK, TargetState.VERIFIED) is TargetState.VERIFIED
