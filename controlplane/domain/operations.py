"""Operations: the status monitors of accepted intents that are not rollouts. Their states, and what an operation's items add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

OperationKind = Literal["onboard", "batchOnboard", "update", "suspend", "resume", "offboard", "export", "repair"]


class OperationState(StrEnum):
    """Where an operation stands. `waiting` says for what in `waitingFor`."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ItemState(StrEnum):
    """Where one tenant environment's part of an operation stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


_O, _I = OperationState, ItemState

OPERATION_TRANSITIONS: Mapping[OperationState, frozenset[OperationState]] = {
    _O.ACCEPTED: frozenset({_O.RUNNING, _O.CANCELLED}),
    _O.RUNNING: frozenset({_O.WAITING, _O.SUCCEEDED, _O.FAILED, _O.CANCELLED}),
    _O.WAITING: frozenset({_O.RUNNING, _O.SUCCEEDED, _O.FAILED, _O.CANCELLED}),
    _O.SUCCEEDED: frozenset(),
    _O.FAILED: frozenset(),
    _O.CANCELLED: frozenset(),
}

ITEM_TRANSITIONS: Mapping[ItemState, frozenset[ItemState]] = {
    _I.PENDING: frozenset({_I.RUNNING, _I.WAITING, _I.SUCCEEDED, _I.FAILED}),
    _I.RUNNING: frozenset({_I.WAITING, _I.SUCCEEDED, _I.FAILED}),
    _I.WAITING: frozenset({_I.RUNNING, _I.SUCCEEDED, _I.FAILED}),
    _I.SUCCEEDED: frozenset(),
    _I.FAILED: frozenset(),
}

OPERATION_OVER = frozenset(state for state, after in OPERATION_TRANSITIONS.items() if not after)
ITEM_OVER = frozenset(state for state, after in ITEM_TRANSITIONS.items() if not after)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many items stand where."""

    total: int
    succeeded: int
    failed: int

    @property
    def open(self) -> int:
        """How many are not over."""
        return self.total - self.succeeded - self.failed


def tally(states: Iterable[ItemState]) -> Tally:
    """Count items by outcome."""
    counted = Counter(states)
    return Tally(counted.total(), counted[_I.SUCCEEDED], counted[_I.FAILED])


def decide_operation(kind: OperationKind, counts: Tally, *, waiting: bool) -> OperationState:
    """Say where an operation stands, from its items.

    A batch succeeds when it has carried out every line it could: its failed lines are its result, each with its problem.
    It fails when not one line succeeded. Every other operation fails as soon as all is over and one item failed.
    """
    if counts.open:
        return _O.WAITING if waiting else _O.RUNNING
    if kind == "batchOnboard":
        return _O.SUCCEEDED if counts.succeeded or not counts.total else _O.FAILED
    return _O.FAILED if counts.failed else _O.SUCCEEDED
