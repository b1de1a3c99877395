"""What a worker hears: wake-ups from the bus for what it drives, and events that came in. Without a bus the sweeps find everything."""

from __future__ import annotations

import asyncio

from controlplane.adapters.nats import NatsRole
from controlplane.bootstrap import Container

from .events import Events
from .runner import Runner
from .wakeups import Wakeups


async def hear_forever(container: Container, runner: Runner) -> None:
    """Take wake-ups and carry events on until the runner drains."""
    events = Events(container.event_tools)
    bus = container.bus(NatsRole.WORK) if container.settings.nats_url else None
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(events.run(runner.draining), name="events")
            if bus is not None:
                wakeups = Wakeups(bus, runner.nudge, events=events.nudge)
                tasks.create_task(wakeups.run(runner.draining), name="wake-ups")
    finally:
        if bus is not None:
            await bus.close()
