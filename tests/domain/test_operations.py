"""What an operation's items add up to."""

from __future__ import annotations

from controlplane.domain.operations import (
    ITEM_OVER,
    OPERATION_OVER,
    ItemState,
    OperationState,
    decide_operation,
    tally,
)

_S, _F, _R = ItemState.SUCCEEDED, ItemState.FAILED, ItemState.RUNNING


def test_an_operation_goes_on_while_an_item_is_open() -> None:
    assert decide_operation("onboard", tally([_S, _R]), waiting=False) is OperationState.RUNNING
    assert decide_operation("onboard", tally([_S, _R]), waiting=True) is OperationState.WAITING


def test_a_batch_succeeds_with_its_good_lines_and_reports_the_bad_ones() -> None:
    assert decide_operation("batchOnboard", tally([_S, _F]), waiting=False) is OperationState.SUCCEEDED
    assert decide_operation("batchOnboard", tally([_F, _F]), waiting=False) is OperationState.FAILED


def test_any_other_operation_fails_with_its_item() -> None:
    assert decide_operation("onboard", tally([_S, _F]), waiting=False) is OperationState.FAILED
    assert decide_operation("onboard", tally([_S, _S]), waiting=False) is OperationState.SUCCEEDED


def test_the_states_without_a_way_on_are_the_ends() -> None:
    assert {"succeeded", "failed", "cancelled"} == OPERATION_OVER
    assert {"succeeded", "failed"} == ITEM_OVER
