"""Asking what surrounds a target before it is blamed. Only where something may explain it, so that most failures cost no question."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

from controlplane.domain.apps import Dependency
from controlplane.domain.disturbance import ASKING, Circumstances, Excuse, excuse_of
from controlplane.domain.engine import Memory, TargetNow
from controlplane.domain.errors import SeawallError
from controlplane.ports.clusters import Cluster
from controlplane.services.docket import Docket

ASK_SECONDS = 2.0
FRESH_SECONDS = 3.0
"""How long an answer counts; while a target stays ill it is asked again."""


class Surveyor:
    """Remembers answers by tenant; asks in tasks of its own and tells `answered` when one came."""

    def __init__(
        self,
        memory: Memory,
        dependencies: Sequence[Dependency],
        docket: Docket,
        answered: Callable[[str], None],
    ) -> None:
        self._memory = memory
        self._docket = docket
        self._dependencies = tuple(one for one in dependencies if not one.critical)
        self._answered = answered
        self._answers: dict[str, tuple[float, Excuse | None]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._touched = frozenset(t.namespace for t in memory.targets.values())

    def excuse(self, cluster: Cluster, target: TargetNow) -> Excuse | None:
        """Why an ill target is not to be blamed now, as far as is known; None: nothing explains it, and no other change does."""
        return self._surroundings(cluster, target) or self._docket.excuse(target)

    def _surroundings(self, cluster: Cluster, target: TargetNow) -> Excuse | None:
        if not self._dependencies and not cluster.nodes().troubled:
            return None
        at, known = self._answers.get(target.tenant, (float("-inf"), ASKING))
        if time.monotonic() - at > FRESH_SECONDS and target.tenant not in self._asking:
            task = asyncio.create_task(self._ask(cluster, target), name=f"ask what surrounds {target.tenant}")
            self._asking[target.tenant] = task
        return known

    async def close(self) -> None:
        """Stop asking."""
        for task in self._asking.values():
            task.cancel()
        for task in list(self._asking.values()):
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _ask(self, cluster: Cluster, target: TargetNow) -> None:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                around = await cluster.circumstances(target.namespace, self._dependencies)
        except (SeawallError, TimeoutError) as error:
            around = Circumstances(unknown=getattr(error, "detail", "no answer in time"))
        self._answers[target.tenant] = (time.monotonic(), excuse_of(cluster.nodes(), around, self._touched))
        self._asking.pop(target.tenant, None)
        self._answered(target.tenant)
