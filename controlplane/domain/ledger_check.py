"""The independent checker of the budgets: replays every reservation in commit order and trusts no running total.

It shares no code with the decision it checks (`exposure.grant`), on purpose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

Action = Literal["take", "give", "cap", "close", "open"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One fact about one scope, in commit order. `holder` names who took or gave (a target of a rollout).

    For `cap`, `amount` is the new cap, None for no limit; `close` and `open` carry none.
    """

    sequence: int
    action: Action
    scope: str
    amount: int | Decimal | None = None
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never happen, and the entry after which it had."""

    sequence: int
    scope: str
    detail: str


@dataclass
class _Scope:
    cap: int | Decimal | None = None
    closed: bool = False
    held: dict[str, int | Decimal] = field(default_factory=dict)
    total: int | Decimal = 0


def check_ledger(
    entries: Iterable[LedgerEntry], reserved: Mapping[str, int | Decimal] | None = None
) -> tuple[Violation, ...]:
    """Replay the ledger and name every violation; an empty answer means that none was found.

    Checked: entries are in order; nothing is taken above the cap of that moment or while closed (a cap lowered below
    what is out is no violation: it stops grants only); nobody takes a scope twice or gives what he did not take; and
    at the end the sum of what is held equals `reserved`, the running totals of the budget rows.
    """
    scopes: defaultdict[str, _Scope] = defaultdict(_Scope)
    found: list[Violation] = []
    last = -1
    for entry in entries:
        if entry.sequence <= last:
            found.append(Violation(entry.sequence, entry.scope, f"out of order: comes after {last}"))
        last = entry.sequence
        problem = _apply(scopes[entry.scope], entry)
        if problem:
            found.append(Violation(entry.sequence, entry.scope, problem))
    for scope in sorted(reserved or ()):
        held = sum(scopes[scope].held.values())
        if reserved is not None and held != reserved[scope]:
            found.append(
                Violation(last, scope, f"the row says {reserved[scope]} reserved, the reservations sum to {held}")
            )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class MoveEntry:
    """One logged change of a budget row, as the transaction that made it left the row. `delta` = taken - given back."""

    sequence: int
    scope: str
    delta: int | Decimal
    taken: int | Decimal
    reserved: int | Decimal
    cap: int | Decimal | None
    closed: bool = False


def check_moves(
    moves: Iterable[MoveEntry], reserved: Mapping[str, int | Decimal], held: Mapping[str, int | Decimal]
) -> tuple[Violation, ...]:
    """Replay every budget's moves in commit order and name every violation; `held` sums the reservations at the end.

    Checked for each scope, whatever its unit: the row after a move is the row before it plus the move (no update was
    lost); nothing was taken above the cap of that moment or while closed (a move that only gives back may leave more
    than a lowered cap); nothing falls below 0; and at the end moves, rows and reservations agree: Σ = reserved.
    """
    found: list[Violation] = []
    totals: defaultdict[str, int | Decimal] = defaultdict(int)
    last: dict[str, int] = {}
    for move in moves:
        if move.sequence <= last.get(move.scope, -1):
            found.append(Violation(move.sequence, move.scope, f"out of order: comes after {last[move.scope]}"))
        last[move.scope] = move.sequence
        totals[move.scope] += move.delta
        found += [Violation(move.sequence, move.scope, detail) for detail in _wrong(move, totals[move.scope])]
    for scope in sorted({*totals, *reserved, *held}):
        sums = totals[scope], reserved.get(scope, 0), held.get(scope, 0)
        if len(set(sums)) != 1:
            detail = f"its moves sum to {sums[0]}, the row says {sums[1]}, the reservations sum to {sums[2]}"
            found.append(Violation(last.get(scope, -1), scope, detail))
    return tuple(found)


def _wrong(move: MoveEntry, total: int | Decimal) -> list[str]:
    found = []
    if move.reserved != total:
        found.append(f"the row said {move.reserved} reserved, its moves sum to {total}")
    if move.reserved < 0 or move.taken < 0 or move.delta > move.taken:
        found.append(f"{move.delta} moved, {move.taken} of it taken, {move.reserved} reserved: that can't be")
    if move.taken > 0 and move.closed:
        found.append(f"{move.taken} taken while it was closed")
    if move.taken > 0 and move.cap is not None and move.reserved > move.cap:
        found.append(f"{move.taken} taken: {move.reserved} reserved, the cap is {move.cap}")
    return found


def _apply(scope: _Scope, entry: LedgerEntry) -> str | None:
    match entry.action:
        case "cap":
            scope.cap = entry.amount
        case "close" | "open":
            scope.closed = entry.action == "close"
        case "take":
            return _take(scope, entry.holder, entry.amount or 0)
        case "give":
            return _give(scope, entry.holder, entry.amount or 0)
    return None


def _take(scope: _Scope, holder: str, amount: int | Decimal) -> str | None:
    twice = holder in scope.held
    scope.held[holder] = scope.held.get(holder, 0) + amount
    scope.total += amount
    if twice:
        return f"{holder} took it twice"
    if amount <= 0:
        return f"{holder} took {amount}"
    if scope.closed:
        return f"{holder} took {amount} while it was closed"
    if scope.cap is not None and scope.total > scope.cap:
        return f"{holder} took {amount}: {scope.total} reserved, the cap is {scope.cap}"
    return None


def _give(scope: _Scope, holder: str, amount: int | Decimal) -> str | None:
    held = scope.held.pop(holder, None)
    scope.total -= held or 0
    if held is None:
        return f"{holder} gave back {amount} it had not taken"
    return None if held == amount else f"{holder} took {held} and gave back {amount}"
