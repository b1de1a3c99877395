"""Waiting for whichever comes first: a hint, a message, the time, the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from controlplane.ports.bus import Bus, Queue, Received


async def first_of(*events: asyncio.Event, seconds: float) -> None:
    """Return when one of the events is set, or after `seconds`."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def each(bus: Bus, queue: Queue, draining: asyncio.Event, handle: Callable[[Received], Awaitable[None]]) -> None:
    """Handle a queue's messages one by one until draining; the one in hand is finished."""
    stream = bus.take(queue)
    ending = asyncio.ensure_future(draining.wait())
    try:
        while not draining.is_set():
            coming = asyncio.ensure_future(anext(stream))
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await handle(await coming)
    finally:
        ending.cancel()
