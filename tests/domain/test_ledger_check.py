from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.ledger_check import LedgerEntry, MoveEntry, check_ledger, check_moves

CAP = ("cap", "fleet", 2, "")


def ledger(*rows: tuple[Any, str, int | None, str]) -> list[LedgerEntry]:
    return [LedgerEntry(n, action, scope, amount, holder) for n, (action, scope, amount, holder) in enumerate(rows)]


def test_a_correct_ledger_has_no_violation() -> None:
    rows = ledger(
        CAP, ("take", "fleet", 1, "a"), ("take", "fleet", 1, "b"), ("give", "fleet", 1, "a"), ("take", "fleet", 1, "c")
    )
    assert check_ledger(rows, {"fleet": 2}) == ()


def test_a_cap_lowered_below_what_is_out_is_no_violation_but_the_next_grant_is() -> None:
    rows = ledger(
        CAP, ("take", "fleet", 1, "a"), ("take", "fleet", 1, "b"), ("cap", "fleet", 1, ""), ("give", "fleet", 1, "a")
    )
    assert check_ledger(rows) == ()
    assert len(check_ledger([*rows, LedgerEntry(9, "take", "fleet", 1, "c")])) == 1


@pytest.mark.parametrize(
    ("rows", "detail"),
    [
        ([CAP, ("take", "fleet", 3, "a")], "3 reserved, the cap is 2"),
        ([("close", "fleet", None, ""), ("take", "fleet", 1, "a")], "while it was closed"),
        ([("take", "fleet", 1, "a"), ("take", "fleet", 1, "a")], "took it twice"),
        ([("take", "fleet", 0, "a")], "a took 0"),
        ([("give", "fleet", 1, "a")], "had not taken"),
        ([("take", "fleet", 2, "a"), ("give", "fleet", 1, "a")], "took 2 and gave back 1"),
    ],
)
def test_each_kind_of_violation_is_found(rows: list[tuple[Any, str, int | None, str]], detail: str) -> None:
    found = check_ledger(ledger(*rows))
    assert len(found) == 1
    assert detail in found[0].detail
    assert found[0].scope == "fleet"


def test_a_row_that_does_not_match_its_reservations_is_found() -> None:
    found = check_ledger(ledger(("take", "fleet", 1, "a")), {"fleet": 2, "other": 1})
    assert [v.scope for v in found] == ["fleet", "other"]
    assert "the row says 2 reserved, the reservations sum to 1" in found[0].detail


def test_entries_out_of_order_are_found() -> None:
    rows = [LedgerEntry(2, "take", "fleet", 1, "a"), LedgerEntry(1, "give", "fleet", 1, "a")]
    assert [v.detail for v in check_ledger(rows)] == ["out of order: comes after 2"]


def test_an_open_budget_can_be_taken_again() -> None:
    rows = ledger(("close", "fleet", None, ""), ("open", "fleet", None, ""), ("take", "fleet", 1, "a"))
    assert check_ledger(rows, {"fleet": 1}) == ()


def moves(*rows: tuple[int, int, int, int | None, bool]) -> list[MoveEntry]:
    """(delta, taken, reserved after it, cap, closed) of one scope."""
    return [MoveEntry(n, "fleet", *row) for n, row in enumerate(rows)]


def test_moves_that_take_within_the_cap_and_give_back_are_no_violation() -> None:
    rows = moves((3, 3, 3, 4, False), (-1, 1, 2, 4, False), (0, 0, 2, 1, False), (-1, 0, 1, 1, False))
    assert check_moves(rows, {"fleet": 1}, {"fleet": 1}) == ()


@pytest.mark.parametrize(
    ("rows", "detail"),
    [
        ([(3, 3, 3, 2, False)], "3 taken: 3 reserved, the cap is 2"),
        ([(5, 5, 5, 5, False), (-1, 1, 4, 2, False)], "1 taken: 4 reserved, the cap is 2"),
        ([(1, 1, 1, None, True)], "1 taken while it was closed"),
        ([(1, 1, 2, None, False)], "the row said 2 reserved, its moves sum to 1"),
        ([(-1, 0, -1, None, False)], "that can't be"),
        ([(2, 1, 2, None, False)], "that can't be"),
    ],
)
def test_each_kind_of_wrong_move_is_found(rows: list[tuple[int, int, int, int | None, bool]], detail: str) -> None:
    total = sum(row[0] for row in rows)
    found = check_moves(moves(*rows), {"fleet": total}, {"fleet": total})
    assert [detail in v.detail for v in found] == [True]


def test_rows_moves_and_reservations_must_agree_at_the_end_for_every_scope() -> None:
    found = check_moves(moves((2, 2, 2, None, False)), {"fleet": 2, "other": 0}, {"fleet": 1, "third": 1})
    assert [v.scope for v in found] == ["fleet", "third"]
    assert "moves sum to 2, the row says 2, the reservations sum to 1" in found[0].detail


def test_moves_out_of_order_are_found() -> None:
    rows = [MoveEntry(2, "fleet", 1, 1, 1, None), MoveEntry(1, "fleet", 1, 1, 2, None)]
    assert "out of order" in check_moves(rows, {"fleet": 2}, {"fleet": 2})[0].detail
