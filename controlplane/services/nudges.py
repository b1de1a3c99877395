"""Waking a driver: at once for what may decide something, a little later for what decides nothing by itself.

On a real cluster a Deployment's way to its new image is five events, of which the last alone lets its target move on; a pass of the
driver for each of the others would be work for nothing.
"""

from __future__ import annotations

import asyncio

PATIENCE = 0.2
"""Seconds within which a driver looks at what could wait."""


class Nudges:
    """Sets a driver's `wake`."""

    def __init__(self, wake: asyncio.Event) -> None:
        self._wake = wake
        self._later: asyncio.TimerHandle | None = None

    def now(self) -> None:
        """Wake it at once: it takes with it whatever waited."""
        self.close()
        self._wake.set()

    def soon(self, seconds: float = PATIENCE) -> None:
        """Have it awake within so many seconds; whatever wakes it before takes this with it."""
        loop = asyncio.get_running_loop()
        if self._wake.is_set() or (self._later is not None and self._later.when() <= loop.time() + seconds):
            return
        self.close()
        self._later = loop.call_later(seconds, self.now)

    def taken(self) -> None:
        """What waited is being looked at now."""
        self.close()

    def close(self) -> None:
        """Forget what waits."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
