"""What machines ask a worker: alive, ready, metrics."""

from __future__ import annotations

import asyncio

from controlplane.adapters.machine_server import machine_server
from controlplane.bootstrap import Container


async def serve_forever(container: Container) -> None:
    """Answer on SEAWALL_METRICS_LISTEN until cancelled; while the process drains it is not ready."""
    async with machine_server(container.settings.metrics_listen, container.parts):
        await asyncio.Event().wait()
