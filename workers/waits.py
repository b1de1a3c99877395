"""Waiting for whichever comes first: a hint, a message, the time, the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from controlplane.ports.bus import Bus, Queue, Received

log = structlog.get_logger(__name__)


async def first_of(*events: asyncio.Event, seconds: float) -> None:
    """Return when one of the events is set, or after `seconds`."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def each(
    bus: Bus, queue: Queue, draining: asyncio.Event, handle: Callable[[Received], Awaitable[None]], *, at_once: int = 1
) -> None:
    """Handle a queue's messages until draining, up to `at_once` of them together; those in hand are finished.

    An error of `handle` is logged, and its message comes again.
    """
    stream = bus.take(queue)
    ending = asyncio.ensure_future(draining.wait())
    coming: asyncio.Future[Received] | None = None
    in_hand: set[asyncio.Task[None]] = set()
    try:
        while not draining.is_set():
            coming = asyncio.ensure_future(anext(stream))
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                return
            in_hand.add(asyncio.create_task(_handled(handle, coming.result())))
            if len(in_hand) >= at_once:
                _, in_hand = await asyncio.wait(in_hand, return_when=asyncio.FIRST_COMPLETED)
    except StopAsyncIteration:
        return  # the bus was closed
    finally:
        ending.cancel()
        if coming is not None:  # cancelled from outside: nobody else asks what became of it
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await stream.aclose()
        await asyncio.gather(*in_hand)


async def _handled(handle: Callable[[Received], Awaitable[None]], message: Received) -> None:
    try:
        await handle(message)
    except Exception:
        log.exception("a message could not be handled; it comes again", subject=message.subject)
