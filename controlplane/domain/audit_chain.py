"""The audit trail's chain: each sealed row's hash covers the row and the hash before it, so that no row can be changed or taken out unseen.

Rows are numbered when they are sealed, not when they are written: transactions commit in another order than their rows' ids.
"""

from __future__ import annotations

from collections.abc import Iterable
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
