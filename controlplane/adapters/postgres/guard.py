"""A session that lives as long as its worker: PostgreSQL lets its lock go in the moment the process dies.

Whoever sweeps may then let the dead worker's leases run out at once instead of waiting for their time. That the session has
ended does not prove that the process has (a cut connection looks alike), so nothing may rest on it: see `docs/explanation/what-dies.md`.
"""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
import structlog

log = structlog.get_logger(__name__)

KEY: Final = "hashtextextended('seawall/' || {holder}, 0)"
"""SQL: the advisory lock's key of a holder's name."""
_HOLD: Final = f"select pg_advisory_lock({KEY.format(holder='%s::text')})"
_RETRY_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 1.0


class Guard:
    """Holds the lock. `held`: whether it does now; `changed` is set when that changes."""

    def __init__(self, url: str, holder: str) -> None:
        self._url = url
        self._holder = holder
        self.held = False
        self.changed = asyncio.Event()

    async def hold_forever(self) -> None:
        """Hold the lock until cancelled; takes it again when the session was lost."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=5, application_name="seawall-guard"
                ) as connection:
                    await connection.execute(_HOLD, (self._holder,))
                    self._set(held=True)
                    while True:
                        async for _ in connection.notifies(timeout=_LOOK_SECONDS, stop_after=1):
                            pass  # nobody notifies it: what we wait for is that the connection breaks
            except psycopg.Error as error:
                log.warning("the guard's session was lost", error=type(error).__name__)
            finally:
                self._set(held=False)
            await asyncio.sleep(_RETRY_SECONDS)

    def _set(self, *, held: bool) -> None:
        if self.held is not held:
            self.held = held
            self.changed.set()
