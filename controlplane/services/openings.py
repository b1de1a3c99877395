"""A driver's eye on freezes and windows: read again when they change, looked at again when one ends, opens or closes."""

from __future__ import annotations

import time
from datetime import datetime

from controlplane.domain.decide_windows import needs_of_waves, obeys_windows
from controlplane.domain.engine import Memory
from controlplane.domain.rollouts import RolloutState
from controlplane.domain.windows import closed_at
from controlplane.ports.engine import EngineStore

ASK_SECONDS = 1.0
_FORWARD = frozenset({RolloutState.PLANNED, RolloutState.RUNNING, RolloutState.PAUSED})


class Openings:
    """Keeps `memory.frozen`, `memory.windows` and `memory.closed` true for one rollout."""

    def __init__(self, store: EngineStore, memory: Memory) -> None:
        self._store = store
        self._memory = memory
        self._obeys = obeys_windows(memory.plan)
        self._ask_at = 0.0

    @property
    def _kept_back(self) -> bool:
        memory = self._memory
        return bool(memory.frozen.all_reason or memory.frozen.tenants or memory.closed.shut or memory.closed.waves)

    def seconds(self, now: datetime) -> float | None:
        """When to look again at the latest; None: nothing that is known changes by itself."""
        until = self._memory.closed.until
        turn = None if until is None else (until - now).total_seconds()
        if not self._kept_back:
            return turn
        return ASK_SECONDS if turn is None else min(ASK_SECONDS, turn)

    async def look(self, now: datetime, *, asks: bool = False) -> None:
        """While something is kept back, ask once a second whether freezes or calendars changed; read again what did.

        `asks`: gates stand, which ask nobody while something is frozen.
        """
        memory = self._memory
        if (self._kept_back or asks) and time.monotonic() >= self._ask_at:
            self._ask_at = time.monotonic() + ASK_SECONDS
            await self._read_frozen()
        if self._obeys and memory.rollout.state in _FORWARD:
            await self._look_at_windows(now)

    async def _read_frozen(self) -> None:
        memory = self._memory
        memory.frozen = await self._store.frozen(memory.frozen, list(memory.targets), memory.plan.environment)

    async def _look_at_windows(self, now: datetime) -> None:
        memory, plan = self._memory, self._memory.plan
        if (
            memory.windows.version != memory.frozen.version
            or memory.windows.version < 0
            or memory.windows.good_until <= now
        ):
            await self._read_frozen()
            memory.windows = await self._store.windows(list(memory.targets), plan.environment, plan.windows.default)
        elif not memory.closed.stale(now):
            return
        memory.closed = closed_at(memory.windows, needs_of_waves(plan, memory.windows), now)
