"""An independent reader of what happened: PostgreSQL's ledger beside the API server's audit log, held against the promises.

It shares no code with the engine. Every rule gives sentences; none means that the history keeps the promise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row, dict_row

from controlplane.domain.ledger_check import LedgerEntry, check_ledger
from tests.support.audit_log import Write, by_seawall, read_audit_log

ADMISSION_LAG = timedelta(seconds=1)
"""A seal acts within the lag of the API server's admission cache (`docs/explanation/fence.md`)."""

ROLLOUT_OVER = ("succeeded", "failed", "aborted")
OPERATION_OVER = ("succeeded", "failed", "cancelled")
SETTLED = ("verified", "rolledBack", "stuck", "skipped", "cancelled", "deferred")


@dataclass(frozen=True)
class Claim:
    """A worker's own word that it drives a rollout."""

    worker: str
    rollout: str
    epoch: int
    at: str


@dataclass(frozen=True)
class Pause:
    """When a `:pause` had been answered and, if ever, when a `:resume` was asked for; the database's clock."""

    rollout: UUID
    answered: datetime
    resumed: datetime | None = None


@dataclass(frozen=True)
class Step:
    """One row of the ledger."""

    step_id: UUID
    ordinal: int
    subject_id: UUID
    tenant: str
    phase: str
    verb: str
    kind: str
    name: str
    state: str
    epoch: int
    issued_at: datetime | None


@dataclass(frozen=True)
class Move:
    """One change of a budget."""

    id: int
    scope: str
    delta: Decimal
    reserved: Decimal
    cap: Decimal | None
    taken: Decimal = Decimal(0)
    closed: bool = False


@dataclass
class History:
    """All that is checked. `writes`: the audit log, of the namespaces in question."""

    steps: list[Step] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    reservations: list[dict[str, Any]] = field(default_factory=list)
    reserved: dict[str, Decimal] = field(default_factory=dict)
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    operations: list[dict[str, Any]] = field(default_factory=list)
    intents: list[dict[str, Any]] = field(default_factory=list)
    slots: list[dict[str, Any]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)


_ASKS = {
    "rollouts": "select id, state, due_at, not_before from rollouts",
    "targets": "select rollout_id, tenant, state, code, reason from targets",
    "operations": "select id, state, waiting_for, problem from operations",
    "reservations": "select rollout_id, tenant, scope, amount from reservations",
    "slots": "select tenant, slot_kind, slot_id from environments where slot_id is not null",
    "intents": "select principal, operation, key, status, response from intents",
}
_STEPS = "select step_id, ordinal, subject_id, tenant, phase, verb, kind, name, state, epoch, issued_at from steps"
_MOVES = "select id, scope, delta, reserved, cap, taken, closed from budget_moves order by id"


def read_history(
    url: str, audit_logs: Iterable[Path] = (), *, claims: Sequence[Claim] = (), pauses: Sequence[Pause] = ()
) -> History:
    """Read everything as the schema's owner; of the audit logs, Seawall's writes to the tenants' namespaces."""
    with psycopg.connect(url) as db:
        steps = db.cursor(row_factory=class_row(Step)).execute(_STEPS.encode()).fetchall()
        moves = db.cursor(row_factory=class_row(Move)).execute(_MOVES.encode()).fetchall()
        rows = {name: db.cursor(row_factory=dict_row).execute(ask.encode()).fetchall() for name, ask in _ASKS.items()}
        reserved = {row[0]: row[1] for row in db.execute("select scope, reserved from budgets")}
        ours = {row[0] for row in db.execute("select namespace from environments")}
    writes = [w for log in audit_logs for w in by_seawall(read_audit_log(log)) if (w.namespace or w.name) in ours]
    return History(steps, moves, reserved=reserved, writes=writes, claims=list(claims), pauses=list(pauses), **rows)


def check_history(history: History) -> list[str]:
    """Every broken promise as a sentence."""
    return [
        *effects_doubled(history),
        *fence_broken(history),
        *budgets_broken(history),
        *left_open(history),
        *two_drivers(history),
        *issued_while_paused(history),
    ]


def effects_doubled(history: History) -> list[str]:
    """For each step and object at most one write changed it, whoever sent it.

    Which step a write belongs to is said by the seal before it: its epoch opens the namespace for one step.
    """
    steps = {(w.name, w.epoch): w.step for w in history.writes if _seals(w)}
    changes: defaultdict[tuple[str, ...], list[Write]] = defaultdict(list)
    found = []
    for write in history.writes:
        if write.resource == "namespaces" or not _counts(write):
            continue
        step = steps.get((write.namespace, write.epoch), "")
        if not step:
            found.append(f"{_of(write)} came without a seal of its epoch")
        elif write.changed:
            changes[step, write.namespace, write.resource, write.name, write.verb].append(write)
    for key, writes in changes.items():
        if len(writes) > 1:
            found.append(f"step {key[0]} changed {key[2]}/{key[3]} in {key[1]} {len(writes)} times")
    return found


def fence_broken(history: History) -> list[str]:
    """After a seal was acknowledged, nothing older succeeds; the lag of admission caches is allowed. Seals only rise."""
    found = []
    for namespace in sorted({w.name for w in history.writes if _seals(w)}):
        seals = [w for w in history.writes if _seals(w) and w.name == namespace]
        epochs = [w.epoch or 0 for w in seals]
        if epochs != sorted(epochs):
            found.append(f"the seals of {namespace} went back: {epochs}")
        for write in (
            w for w in history.writes if w.namespace == namespace and _counts(w) and w.resource != "namespaces"
        ):
            newer = [s for s in seals if (s.epoch or 0) > (write.epoch or 0) and write.at > s.done + ADMISSION_LAG]
            if newer:
                found.append(f"{_of(write)} succeeded after the seal {newer[0].epoch} was acknowledged")
    return found


def budgets_broken(history: History) -> list[str]:
    """The moves of each budget add up, no grant went above its cap, and what is held now is what the rows say."""
    found = []
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for move in history.moves:
        totals[move.scope] += move.delta
        if totals[move.scope] != move.reserved:
            found.append(f"budget {move.scope}: the row said {move.reserved}, its moves sum to {totals[move.scope]}")
        taken = max(move.taken, move.delta)
        if taken > 0 and move.cap is not None and totals[move.scope] > move.cap:
            found.append(f"budget {move.scope}: {totals[move.scope]} were out, the cap was {move.cap}")
        if taken > 0 and move.closed:
            found.append(f"budget {move.scope}: {taken} were taken while it was closed")
    takes = [
        LedgerEntry(n, "take", row["scope"], row["amount"], f"{row['rollout_id']}/{row['tenant']}")
        for n, row in enumerate(history.reservations)
    ]
    found += [f"budget {v.scope}: {v.detail}" for v in check_ledger(takes, history.reserved)]
    found += [
        f"budget {s}: {totals[s]} by its moves, {n} by its row" for s, n in history.reserved.items() if totals[s] != n
    ]
    return found


def left_open(history: History) -> list[str]:
    """Everything accepted has ended, or says what it waits for; what has ended left nothing open behind it."""
    over = {row["id"] for row in history.rollouts if row["state"] in ROLLOUT_OVER}
    found = [f"rollout {r['id']} is {r['state']}" for r in history.rollouts if r["id"] not in over and not _waits(r)]
    for target in (t for t in history.targets if t["rollout_id"] in over):
        if target["state"] not in SETTLED:
            found.append(f"target {target['tenant']} is {target['state']} though its rollout is over")
        elif target["state"] == "stuck" and not (target["code"] and target["reason"]):
            found.append(f"target {target['tenant']} is stuck and does not say why")
    found += [f"operation {o['id']} is {o['state']}" for o in history.operations if not _over_or_waits(o)]
    found += [
        f"step {s.step_id}/{s.ordinal} is {s.state}"
        for s in history.steps
        if s.subject_id in over and s.state != "OBSERVED"
    ]
    found += [f"{s['tenant']} is still in the hands of {s['slot_id']}" for s in history.slots if s["slot_id"] in over]
    return found + [f"intent {i['key']} of {i['operation']} has no answer" for i in history.intents if not i["status"]]


def two_drivers(history: History) -> list[str]:
    """Nobody drives under an epoch that somebody had, and epochs only rise."""
    found = []
    by_rollout: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in history.claims:
        by_rollout[claim.rollout].append(claim)
    for rollout, claims in by_rollout.items():
        epochs = [claim.epoch for claim in claims]
        if len(set(epochs)) != len(epochs):
            found.append(f"rollout {rollout} was driven twice under one epoch: {epochs}")
        if epochs != sorted(epochs):
            found.append(f"the epochs of rollout {rollout} went back: {epochs}")
    return found


def issued_while_paused(history: History) -> list[str]:
    """Between the answer to a pause and its resume nothing was ISSUED."""
    return [
        f"{step.verb} {step.kind}/{step.name} of {step.tenant} was issued at {step.issued_at} though paused at {pause.answered}"
        for pause in history.pauses
        for step in history.steps
        if step.subject_id == pause.rollout
        and step.issued_at is not None
        and step.issued_at > pause.answered
        and (pause.resumed is None or step.issued_at < pause.resumed)
    ]


def _counts(write: Write) -> bool:
    return write.accepted and not write.dry_run


def _seals(write: Write) -> bool:
    return _counts(write) and write.resource == "namespaces" and write.verb == "patch" and bool(write.step)


def _waits(rollout: dict[str, Any]) -> bool:
    return rollout["state"] == "paused" or (rollout["state"] == "planned" and rollout["not_before"] is not None)


def _over_or_waits(operation: dict[str, Any]) -> bool:
    return operation["state"] in OPERATION_OVER or (operation["state"] == "waiting" and bool(operation["waiting_for"]))


def _of(write: Write) -> str:
    return f"{write.verb} {write.resource}/{write.name} in {write.namespace} with epoch {write.epoch}"
