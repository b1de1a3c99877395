"""Sealing the audit trail, checking that nobody edited it, and letting old rows leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from controlplane.domain.audit_chain import GENESIS, Anchor, ChainCheck, Checkpoint, Seal, Walk, seals
from controlplane.domain.audit_lines import first_line, last_line, row_as_json
from controlplane.ports.anchors import Anchors
from controlplane.ports.uow import UnitOfWork

BATCH = 1000
REMOVED_AT_ONCE = 20_000
"""Rows that leave in one transaction."""
SEALER = "seawall"
"""The actor of the row that says that rows were removed."""

type Open = Callable[[], AbstractAsyncContextManager[UnitOfWork]]


async def seal_some(uow: UnitOfWork) -> Seal | None:
    """Seal what is committed and not sealed yet, at most a batch, and send it out as events. Returns the new head, or None.

    The caller writes the head somewhere PostgreSQL's owner can't reach: a chain that was made anew from the start has another
    head.
    """
    if not await uow.audit_chain.begin():
        return None
    rows = await uow.audit_chain.unsealed(BATCH)
    if not rows:
        return None
    made = seals(await uow.audit_chain.head(), rows)
    await uow.audit_chain.seal([(row.id, seal) for row, seal in zip(rows, made, strict=True)])
    await uow.audit_chain.publish("recorded", list(zip(made, rows, strict=True)))
    return made[-1]


async def verify(open_: Open, *, anchors: tuple[Seal, ...] = ()) -> ChainCheck:
    """Follow the whole chain, batch by batch; `anchors` are heads that were written elsewhere, which it must pass through."""
    known = [Anchor(seal) for seal in anchors]
    step = await verify_some(open_, None, known, BATCH)
    while not step.done:
        step = await verify_some(open_, step.found.head, known, BATCH)
    return step.found


@dataclass(frozen=True)
class Verified:
    """One step of a check. `done`: the chain's end was reached, or a break. `waiting`: rows without a seal, and the oldest's age."""

    found: ChainCheck
    anchored: Anchor | None
    checkpoint: Checkpoint | None
    rows: int
    done: bool
    waiting: int
    waiting_for: timedelta


async def verify_some(open_: Open, after: Seal | None, anchors: Sequence[Anchor], most: int) -> Verified:
    """Follow the chain over at most `most` rows from after a head that a step before found (None: from its start).

    Reads in one short transaction, hashes in a thread: a million rows hold up nobody.
    """
    async with open_() as uow:
        checkpoint = await uow.audit_chain.checkpoint()
        start = after or (checkpoint.seal if checkpoint else Seal(0, GENESIS))
        rows = await uow.audit_chain.sealed(start.number, most)
        waiting, waiting_for = await uow.audit_chain.waiting()
    walk = Walk(start, anchors)
    walk.begin(first=after is None)
    await asyncio.to_thread(walk.feed, rows)
    ended = len(rows) < most
    found = walk.end() if ended else walk.found
    done = ended or found.broken_at is not None
    return Verified(found, walk.anchored, checkpoint, len(rows), done, waiting, waiting_for)


async def export(open_: Open) -> AsyncIterator[dict[str, Any]]:
    """Give the sealed trail as lines of JSON, a batch per transaction; see `controlplane.domain.audit_lines`."""
    async with open_() as uow:
        checkpoint, head = await uow.audit_chain.checkpoint(), await uow.audit_chain.head()
        waiting, _ = await uow.audit_chain.waiting()
    at = checkpoint.seal if checkpoint else Seal(0, GENESIS)
    yield first_line(at, checkpoint)
    while at.number < head.number:
        async with open_() as uow:
            rows = await uow.audit_chain.sealed(at.number, BATCH)
        for seal, row in rows:
            yield row_as_json(seal, row)
            at = seal
        if not rows:
            break
    yield last_line(at, waiting)


async def remove_old(open_: Open, anchors: Anchors, keep: timedelta) -> int:
    """Let the oldest rows leave if all of them are older than the policy keeps them. Returns how many left.

    Their last seal is anchored as a checkpoint first; without that nothing is removed, so that the chain can still be checked
    from there, and a chain whose beginning somebody cut off can be told from it. Raises DependencyError `anchor-unavailable`.
    """
    async with open_() as uow:
        before = uow.now - keep
        upto = await uow.audit_chain.removable(before, REMOVED_AT_ONCE)
        now = uow.now
    if upto is None:
        return 0
    await anchors.put(Anchor(upto, now.isoformat(), checkpoint=True))
    async with open_() as uow:
        if not await uow.audit_chain.begin():
            return 0
        gone = await uow.audit_chain.remove(upto, before)
        detail = {"seal": upto.number, "hash": upto.hash, "rows": gone, "before": before.isoformat()}
        await uow.audit(SEALER, "audit.remove", "audit/trail", detail=detail)
    return gone
