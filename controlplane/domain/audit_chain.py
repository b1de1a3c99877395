"""The audit trail's chain: each sealed row's hash covers the row and the hash before it, so that no row can be changed or taken out unseen.

Rows are numbered when they are sealed, not when they are written: transactions commit in another order than their rows' ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from controlplane.domain.names import digest_of

GENESIS = "sha256:" + "0" * 64
"""What the first seal covers instead of a hash before it."""


@dataclass(frozen=True)
class AuditFields:
    """What of an audit row is covered."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    tenant: str | None
    detail: dict[str, Any]
    trace_id: str


@dataclass(frozen=True)
class Seal:
    """A sealed row: its place in the chain, from 1, and its hash."""

    number: int
    hash: str


@dataclass(frozen=True)
class ChainCheck:
    """How far the chain holds. `broken_at` is the first place that does not, with what is wrong there; None: it holds."""

    head: Seal
    broken_at: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Anchor:
    """A head as it was written outside of the database. `checkpoint`: rows up to it were about to be removed by the retention policy."""

    seal: Seal
    at: str = ""
    checkpoint: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """Where the chain begins after old rows were removed: the last removed row's seal."""

    seal: Seal
    rows: int
    removed_at: datetime


class Walk:
    """Follows the chain piece by piece, through the anchors that lie on its way.

    `anchored` is the newest anchor that was passed. A walk that is broken stays so.
    """

    def __init__(self, start: Seal, anchors: Iterable[Anchor] = ()) -> None:
        self.found = ChainCheck(start)
        self.anchored: Anchor | None = None
        self._before = [a for a in anchors if a.seal.number > 0]
        self._ahead = {a.seal.number: a for a in self._before if a.seal.number > start.number}
        self._rivals = _rivals(self._before)

    def begin(self, *, first: bool) -> None:
        """Check the start itself: what was removed in front of it must have been anchored as a checkpoint (`first`: a walk's beginning)."""
        start = self.found.head
        if self._rivals:
            self._break(self._rivals, f"Seal {self._rivals} was anchored with two hashes: the chain was made anew.")
        mine = [a for a in self._before if a.seal.number == start.number]
        if any(a.seal.hash != start.hash for a in mine):
            self._break(start.number, f"Seal {start.number} is not the one that was anchored: the chain was made anew.")
        elif mine:
            self.anchored = mine[-1]
        if first and start.number and self._before and not any(a.checkpoint for a in mine):
            self._break(
                start.number, f"Rows up to seal {start.number} were removed, and no anchored checkpoint says so."
            )

    def feed(self, rows: Sequence[tuple[Seal, AuditFields]]) -> bool:
        """Follow rows in their order; False once it is broken."""
        if self.found.broken_at is not None:
            return False
        for seal, _ in rows:
            anchor = self._ahead.pop(seal.number, None)
            if anchor is not None and anchor.seal.hash != seal.hash:
                self._break(
                    seal.number, f"Seal {seal.number} is not the one that was anchored: the chain was made anew."
                )
                return False
            self.anchored = anchor or self.anchored
        self.found = check(self.found.head, rows)
        return self.found.broken_at is None

    def end(self) -> ChainCheck:
        """Say what was found once there are no more rows: anchors that were not reached mean that rows are missing at the end."""
        if self.found.broken_at is None and self._ahead:
            first, head = min(self._ahead), self.found.head.number
            self._break(first, f"Seal {first} was anchored, but the chain ends at {head}: rows were taken off its end.")
        return self.found

    def _break(self, at: int, problem: str) -> None:
        if self.found.broken_at is None:
            self.found = ChainCheck(self.found.head, at, problem)


def _rivals(anchors: Iterable[Anchor]) -> int:
    """The first seal that anchors give two hashes; 0 if there is none."""
    seen: dict[int, str] = {}
    rivals = [a.seal.number for a in anchors if seen.setdefault(a.seal.number, a.seal.hash) != a.seal.hash]
    return min(rivals, default=0)


def link(previous: str, row: AuditFields) -> str:
    """The hash of a row in the chain after `previous`."""
    at = row.at.astimezone(UTC).isoformat(timespec="microseconds")
    content = [previous, row.id, at, row.actor, row.action, row.subject, row.tenant, row.detail, row.trace_id]
    return digest_of(content)


def seals(head: Seal, rows: Iterable[AuditFields]) -> list[Seal]:
    """Seal rows after `head`, in the order given."""
    made: list[Seal] = []
    for row in rows:
        head = Seal(head.number + 1, link(head.hash, row))
        made.append(head)
    return made


def check(start: Seal, rows: Iterable[tuple[Seal, AuditFields]]) -> ChainCheck:
    """Follow the chain from after `start` over sealed rows in their order."""
    head = start
    for seal, row in rows:
        if seal.number != head.number + 1:
            return ChainCheck(
                head, head.number + 1, f"Seal {head.number + 1} is missing; the next one is {seal.number}."
            )
        if seal.hash != link(head.hash, row):
            problem = f"Seal {seal.number} (audit row {row.id}) does not fit: the row, or one before it, was changed."
            return ChainCheck(head, seal.number, problem)
        head = seal
    return ChainCheck(head)
