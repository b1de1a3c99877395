"""What machines ask a worker: alive, ready, metrics."""

from __future__ import annotations

import asyncio

from controlplane.adapters.machine_server import machine_server
from controlplane.bootstrap import Container
from controlplane.ports.health import Part
from controlplane.services.fleet import Fleet


async def serve_forever(container: Container, fleet: Fleet) -> None:
    """Answer on SEAWALL_METRICS_LISTEN until cancelled; while the process drains it is not ready."""

    async def parts() -> list[Part]:
        return [*await container.parts(), *fleet.parts()]

    async with machine_server(container.settings.metrics_listen, parts):
        await asyncio.Event().wait()
