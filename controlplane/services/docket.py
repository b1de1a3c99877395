"""A driver's docket: which of its ill targets another change is blamed for. Asked for all of a moment together, and remembered for a while."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from uuid import UUID

import structlog

from controlplane.domain.disturbance import ANOTHER_BLAMED, ASKING, Excuse
from controlplane.domain.engine import TargetNow
from controlplane.domain.errors import SeawallError
from controlplane.ports.blames import Blames

GATHER_SECONDS = 0.02
"""So long a question waits for more tenants that fall ill in the same moment."""
FRESH_SECONDS = 3.0
"""How long an answer counts; while a target stays ill it is asked again."""
ASK_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Docket:
    """Remembers answers by tenant. Without a jury nobody else is ever to blame."""

    def __init__(
        self, rollout: str, blames: Blames | None, now: Callable[[], datetime], answered: Callable[[str], None]
    ) -> None:
        self._rollout = UUID(rollout)
        self._blames = blames
        self._now = now
        self._answered = answered
        self._answers: dict[str, tuple[float, Excuse | None]] = {}
        self._ill: dict[str, datetime] = {}
        self._asking: asyncio.Task[None] | None = None

    def excuse(self, target: TargetNow) -> Excuse | None:
        """Why an ill target does not count against this rollout now, as far as is known."""
        if self._blames is None:
            return None
        at, known = self._answers.get(target.tenant, (float("-inf"), ASKING))
        if time.monotonic() - at > FRESH_SECONDS:
            self._ill.setdefault(target.tenant, target.ill_since or self._now())
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask(), name=f"ask who is to blame in {self._rollout}")
        return known

    async def weigh(self, ill: Mapping[str, datetime]) -> Mapping[str, str]:
        """Ask at once, for a gate that would fail: tenants that another change is blamed for, with the reason."""
        if self._blames is None or not ill:
            return {}
        async with asyncio.timeout(ASK_SECONDS):
            return await self._blames.weigh(self._rollout, ill)

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking

    async def _ask(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        ill, self._ill = self._ill, {}
        found: Mapping[str, str] = {}
        try:
            found = await self.weigh(ill)
        except (SeawallError, TimeoutError) as error:
            log.warning(
                "who is to blame could not be asked; failures count", error=getattr(error, "detail", "no answer")
            )
        except Exception:
            log.exception("who is to blame could not be asked; failures count")
        self._asking = None
        self._note(ill, found)

    def _note(self, ill: Collection[str], found: Mapping[str, str]) -> None:
        for tenant in ill:
            excuse = Excuse(ANOTHER_BLAMED, found[tenant]) if tenant in found else None
            self._answers[tenant] = (time.monotonic(), excuse)
            self._answered(tenant)
