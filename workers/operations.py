"""The loop of operations: one driver per operation, under its lease."""

from __future__ import annotations

import asyncio

from controlplane.ports.leases import HeldLease
from controlplane.services.operations.driver import drive_operation
from controlplane.services.operations.run import OperationTools
from workers.runner import Drive


def drive_with(tools: OperationTools) -> Drive:
    """Make what a `Runner` calls for leases of kind `operation`."""

    async def drive(lease: HeldLease, drain: asyncio.Event) -> None:
        await drive_operation(tools, lease, drain)

    return drive
