"""Sealing the audit trail, and checking that nobody edited it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from controlplane.domain.audit_chain import GENESIS, ChainCheck, Seal, check, seals
from controlplane.ports.uow import UnitOfWork

BATCH = 1000

type Open = Callable[[], AbstractAsyncContextManager[UnitOfWork]]


async def seal_some(uow: UnitOfWork) -> Seal | None:
    """Seal what is committed and not sealed yet, at most a batch. Returns the new head, or None if there was nothing to do.

    The caller writes the head somewhere PostgreSQL's owner can't reach (a log that is shipped): a chain that was made anew
    from the start has another head.
    """
    if not await uow.audit_chain.begin():
        return None
    rows = await uow.audit_chain.unsealed(BATCH)
    if not rows:
        return None
    made = seals(await uow.audit_chain.head(), rows)
    await uow.audit_chain.seal([(row.id, seal) for row, seal in zip(rows, made, strict=True)])
    return made[-1]


async def verify(open_: Open, *, anchors: tuple[Seal, ...] = ()) -> ChainCheck:
    """Follow the whole chain, batch by batch; `anchors` are heads that were written elsewhere, which it must pass through."""
    known = {anchor.number: anchor.hash for anchor in anchors}
    head = Seal(0, GENESIS)
    while True:
        async with open_() as uow:
            rows = await uow.audit_chain.sealed(head.number, BATCH)
        found = check(head, rows)
        for seal, _ in rows:
            if known.pop(seal.number, seal.hash) != seal.hash:
                return ChainCheck(
                    head, seal.number, f"Seal {seal.number} is not the one that was anchored: the chain was made anew."
                )
        if found.broken_at is not None:
            return found
        head = found.head
        if len(rows) < BATCH:
            return _ended(head, known)


def _ended(head: Seal, missing: dict[int, str]) -> ChainCheck:
    if not missing:
        return ChainCheck(head)
    first = min(missing)
    return ChainCheck(
        head, first, f"Seal {first} was anchored, but the chain ends at {head.number}: rows were taken off its end."
    )
