"""The loop every worker process runs: hear of work (wake-ups and a sweep), claim it, drive it, drain on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

import structlog

from controlplane.domain.errors import DependencyError
from controlplane.ports.leases import HeldLease, LeaseLostError, Leases
from controlplane.ports.meters import SILENT, Meters

SWEEP_SECONDS = 1.0
GONE_SECONDS = 1.0
"""So long a holder's session must have been gone before its leases are ended: it may just be connecting again."""
EXPIRED_SECONDS = 0.05
"""How long after a lease's end to look: a live holder renews long before it, so this is about dead ones."""

log = structlog.get_logger(__name__)

type Drive = Callable[[HeldLease, asyncio.Event], Awaitable[None]]
"""Drive one subject under a held lease until it is over, waits for later, or the event (drain) is set; never lets go itself."""


class Runner:
    """Claims leases of the kinds it can drive and runs one task per subject."""

    def __init__(
        self,
        leases: Leases,
        holder: str,
        drives: Mapping[str, Drive],
        *,
        most: int = 64,
        meters: Meters = SILENT,
        sweep: float = SWEEP_SECONDS,
    ) -> None:
        """`most` subjects at a time; `sweep`: seconds between two looks for what no wake-up told of."""
        self._sweep = sweep
        self._leases = leases
        self._holder = holder
        self._drives = drives
        self._most = most
        self._meters = meters
        self._tasks: dict[tuple[str, uuid.UUID], asyncio.Task[None]] = {}
        self._gone: dict[str, float] = {}
        self.draining = asyncio.Event()

    @property
    def driving(self) -> int:
        """How many subjects this process drives now."""
        return len(self._tasks)

    async def nudge(self, kind: str, subject_id: uuid.UUID) -> bool:
        """Claim and drive a subject unless that is done already; True once we hold the lease or see it held."""
        if self.draining.is_set() or kind not in self._drives:
            return False
        if (kind, subject_id) in self._tasks:
            return True
        if len(self._tasks) >= self._most:
            return False
        lease = await self._leases.take(kind, subject_id, self._holder)
        if lease is not None and (kind, subject_id) not in self._tasks:
            self._tasks[kind, subject_id] = asyncio.create_task(self._run(lease), name=f"{kind} {subject_id}")
        return True

    async def sweep_forever(self) -> None:
        """Once in `sweep` seconds, and when a lease runs out, look for what is due and not driven: a lost wake-up costs one sweep.

        Leases of a worker whose session with PostgreSQL has ended run out at once: a killed worker costs two sweeps.
        """
        while not self.draining.is_set():
            seconds = self._sweep
            try:
                await self._end_leases_of_the_gone()
                for due in await self._leases.due(tuple(self._drives)):
                    if await self.nudge(due.kind, due.subject_id):
                        self._meters.swept(due.kind, due.late)
                expiry = await self._leases.soonest_expiry()
                seconds = self._sweep if expiry is None else min(self._sweep, expiry + EXPIRED_SECONDS)
            except DependencyError as error:
                log.warning("sweep failed, will try again", code=error.code, detail=error.detail)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.draining.wait(), seconds)

    async def _end_leases_of_the_gone(self) -> None:
        now = time.monotonic()
        self._gone = {holder: self._gone.get(holder, now) for holder in await self._leases.gone(self._holder)}
        for holder, since in self._gone.items():
            if now - since >= GONE_SECONDS and (ended := await self._leases.let_run_out(holder)):
                log.warning("a worker's session has ended; its leases are free", holder=holder, leases=ended)

    async def drain(self) -> None:
        """Stop claiming, let every driver finish what is in its hands and release its lease."""
        self.draining.set()
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def _run(self, lease: HeldLease) -> None:
        key = (lease.kind, lease.subject_id)
        try:
            await self._drives[lease.kind](lease, self.draining)
        except LeaseLostError as error:
            log.warning(
                "the lease ran out or was taken; whoever has it goes on",
                kind=lease.kind,
                id=str(lease.subject_id),
                detail=error.detail,
            )
        except DependencyError as error:
            log.warning(
                "a part that the driver needs is away; whoever takes the lease next loads afresh",
                kind=lease.kind,
                id=str(lease.subject_id),
                code=error.code,
                detail=error.detail,
            )
        except Exception:
            log.exception(
                "driver ended with an error; the lease is released for the next try",
                kind=lease.kind,
                id=str(lease.subject_id),
            )
        finally:
            self._tasks.pop(key, None)
            await self._let_go(lease)

    async def _let_go(self, lease: HeldLease) -> None:
        try:
            await self._leases.release(lease)
        except DependencyError as error:
            log.warning(
                "could not release the lease; it will run out",
                kind=lease.kind,
                id=str(lease.subject_id),
                code=error.code,
            )
