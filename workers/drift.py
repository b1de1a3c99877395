"""The loop that hears signs of drift from the watches and has each namespace judged once it is quiet."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from controlplane.domain.errors import SeawallError
from controlplane.domain.walls_objects import wall_names
from controlplane.ports.clusters import DriftSign
from controlplane.ports.meters import SILENT, Meters
from controlplane.ports.uow import Transactions
from controlplane.services.drift import DriftJudge
from controlplane.services.fleet import Fleet

QUIET_SECONDS = 1.0
"""So long after the first sign a namespace is looked at: several changes make one report."""
AGAIN_SECONDS = 5.0
"""After so long a namespace is looked at again that a change held, or whose cluster did not answer."""
CLUSTERS_SECONDS = 5.0
COMPARE_SECONDS = 600.0
"""So often everything that was given is looked for: a deletion that no watch told of, because nobody listened, is found then."""
_PAGE = 500
_STEP_SECONDS = 0.5
_AT_ONCE = 8

_WALLS = sorted(wall_names())

log = structlog.get_logger(__name__)


@dataclass
class _Suspect:
    due: float
    signs: dict[tuple[str, str], DriftSign] = field(default_factory=dict)


class DriftLoop:
    """Signs by namespace, and the clusters that are listened to."""

    def __init__(self, transactions: Transactions, fleet: Fleet, meters: Meters = SILENT) -> None:
        self._transactions = transactions
        self._fleet = fleet
        self._judge = DriftJudge(transactions, meters)
        self._ends: dict[str, Callable[[], None]] = {}
        self._suspects: dict[tuple[str, str], _Suspect] = {}
        self._listened_at = float("-inf")
        self._compare_at: dict[str, float] = {}

    def hear(self, sign: DriftSign) -> None:
        """Note a sign."""
        suspect = self._suspects.setdefault((sign.cluster, sign.namespace), _Suspect(time.monotonic() + QUIET_SECONDS))
        suspect.signs[sign.kind, sign.name] = sign

    async def step(self) -> int:
        """Listen to clusters that came, look for what is gone, judge namespaces whose time has come; returns how many were judged."""
        await self._listen()
        for name in [name for name in self._compare_at if not self.compared(name)]:
            whole = await self._compare(name)
            self._compare_at[name] = time.monotonic() + (COMPARE_SECONDS if whole else AGAIN_SECONDS)
        due = [key for key, one in self._suspects.items() if one.due <= time.monotonic()]
        for n in range(0, len(due), _AT_ONCE):
            await asyncio.gather(*(self._one(*key) for key in due[n : n + _AT_ONCE]))
        return len(due)

    def compared(self, cluster: str) -> bool:
        """Whether everything that was given there has been looked for, and is not due again."""
        return self._compare_at.get(cluster, 0.0) > time.monotonic()

    def close(self) -> None:
        """End listening."""
        for end in self._ends.values():
            end()
        self._ends.clear()

    async def _listen(self) -> None:
        if time.monotonic() < self._listened_at + CLUSTERS_SECONDS:
            return
        self._listened_at = time.monotonic()
        async with self._transactions.engine() as uow:
            names = await uow.tenants.placed_on()
        for name in names:
            if name in self._ends or not self._fleet.serves(name):
                continue
            cluster = self._fleet.peek(name)
            if cluster is not None and cluster.live():  # its Namespaces are known then, and with them what is missing
                self._ends[name] = cluster.listen_for_drift(self.hear)
                self._compare_at[name] = 0.0

    async def _compare(self, name: str) -> bool:
        """Take what was given to a cluster's tenants and is not there for a sign. False: not all of it could be looked for yet."""
        cluster, after = self._fleet.peek(name), ("", "")
        while cluster is not None:
            async with self._transactions.engine() as uow:
                page = await uow.tenants.given(name, after, _PAGE)
            for row in page:
                try:
                    gone = await cluster.absent(row.namespace, [*row.objects, *_WALLS])
                except SeawallError as error:
                    log.info("what is gone can't be looked for, will try again", cluster=name, code=error.code)
                    gone = None
                if gone is None:
                    return False
                for kind, object_name in gone:
                    self.hear(DriftSign(name, row.namespace, kind, object_name))
            if len(page) < _PAGE:
                return True
            after = (page[-1].namespace, page[-1].app)
        return False

    async def _one(self, name: str, namespace: str) -> None:
        suspect = self._suspects.pop((name, namespace))
        cluster = self._fleet.peek(name)
        try:
            judged = cluster is not None and await self._judge.judge(cluster, namespace, suspect.signs.values())
        except SeawallError as error:
            log.info(
                "a namespace could not be looked at, will try again", cluster=name, namespace=namespace, code=error.code
            )
            judged = False
        if not judged:
            later = self._suspects.setdefault((name, namespace), _Suspect(0.0))
            later.signs = suspect.signs | later.signs
            later.due = time.monotonic() + AGAIN_SECONDS


async def watch_forever(transactions: Transactions, fleet: Fleet, meters: Meters, draining: asyncio.Event) -> None:
    """Step twice a second until draining."""
    loop = DriftLoop(transactions, fleet, meters)
    try:
        while not draining.is_set():
            try:
                await loop.step()
            except SeawallError as error:
                log.warning("drift could not be judged, will try again", code=error.code, detail=error.detail)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(draining.wait(), _STEP_SECONDS)
    finally:
        loop.close()
