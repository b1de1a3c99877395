"""What surrounds every drive: a span of the trace that woke it, a gauge while it lasts, a count when its lease is lost."""

from __future__ import annotations

import asyncio

from controlplane.ports.leases import HeldLease, LeaseLostError
from controlplane.ports.meters import Meters
from controlplane.ports.trace import continued_span, current_trace_id, span

from .runner import Drive


def measured(kind: str, drive: Drive, meters: Meters) -> Drive:
    """Drive as `drive` does, seen from outside. What the sweep found goes on with the trace in which it was asked for."""

    async def one(lease: HeldLease, draining: asyncio.Event) -> None:
        ids: dict[str, str | int] = {kind: str(lease.subject_id), "epoch": lease.epoch}
        woken = current_trace_id() or not lease.trace
        opened = span(f"drive {kind}", **ids) if woken else continued_span(f"drive {kind}", lease.trace, **ids)
        with opened, meters.driving(kind):
            try:
                await drive(lease, draining)
            except LeaseLostError:
                meters.lease_lost(kind)
                raise

    return one
