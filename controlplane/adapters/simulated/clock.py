"""Time for the simulated fleet: the event loop's, or a virtual one that a test moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Seconds that only grow, and a way to be called later."""

    def now(self) -> float:
        """Seconds since some start."""
        ...

    def call_at(self, when: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call `call` once `now()` is at least `when`; returns what takes it back."""
        ...


class LoopClock:
    """The running event loop's clock."""

    def now(self) -> float:
        """Seconds of the event loop."""
        return asyncio.get_running_loop().time()

    def call_at(self, when: float, call: Callable[[], None]) -> Callable[[], None]:
        """See `Clock.call_at`."""
        return asyncio.get_running_loop().call_at(when, call).cancel


class VirtualClock:
    """A clock that stands still until `advance` moves it: ten thousand tenants' hours pass in seconds."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> float:
        """Virtual seconds."""
        return self._now

    def call_at(self, when: float, call: Callable[[], None]) -> Callable[[], None]:
        """See `Clock.call_at`. Calls due at the same time come in the order in which they were asked for."""
        live = [True]

        def run() -> None:
            if live[0]:
                call()

        heapq.heappush(self._due, (when, next(self._order), run))

        def cancel() -> None:
            live[0] = False

        return cancel

    def next_at(self) -> float | None:
        """When the next call is due; None if nothing waits."""
        return self._due[0][0] if self._due else None

    def advance(self, seconds: float) -> None:
        """Move on, making every call that becomes due at its own time."""
        until = self._now + seconds
        while self._due and self._due[0][0] <= until:
            when, _, call = heapq.heappop(self._due)
            self._now = max(self._now, when)
            call()
        self._now = until


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait on any clock; returns at once for zero."""
    if seconds <= 0:
        return
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancel = clock.call_at(clock.now() + seconds, lambda: None if done.done() else done.set_result(None))
    try:
        await done
    finally:
        cancel()
