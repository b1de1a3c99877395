"""What surrounds every drive: a span of the trace that woke it, a gauge while it lasts, a count when its lease is lost."""

from __future__ import annotations

import asyncio

from controlplane.ports.leases import HeldLease, LeaseLostError
from controlplane.ports.meters import Meters
from controlplane.ports.trace import span

from .runner import Drive


def measured(kind: str, drive: Drive, meters: Meters) -> Drive:
    """Drive as `drive` does, seen from outside. A drive the sweep began has a trace of its own."""

    async def one(lease: HeldLease, draining: asyncio.Event) -> None:
        with span(f"drive {kind}", **{kind: str(lease.subject_id)}, epoch=lease.epoch), meters.driving(kind):
            try:
                await drive(lease, draining)
            except LeaseLostError:
                meters.lease_lost(kind)
                raise

    return one
