"""Driving rollouts: the thin loop around `controlplane.services.driver`."""

from __future__ import annotations

import asyncio

from controlplane.ports.engine import EngineStore
from controlplane.ports.gates import GatePorts
from controlplane.ports.leases import HeldLease
from controlplane.ports.meters import SILENT, Meters
from controlplane.services.driver import drive
from controlplane.services.fleet import Fleet

from .runner import Drive


def drive_with(store: EngineStore, fleet: Fleet, gates: GatePorts, meters: Meters = SILENT) -> Drive:
    """How this process drives a rollout."""

    async def one(lease: HeldLease, draining: asyncio.Event) -> None:
        await drive(store, fleet, lease, draining, gates, meters)

    return one
