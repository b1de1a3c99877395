"""Keeping the audit trail: sealing rows, writing heads outside, letting old rows leave."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import structlog

from controlplane.bootstrap import Container
from controlplane.domain.audit_chain import Anchor, Seal
from controlplane.services.audit_chain import remove_old, seal_some

REMOVE_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Sealer:
    """One process's part: the head that still has to be anchored is kept until the anchor has it."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._owed: Seal | None = None
        self._began = False
        self._removed_at = float("-inf")

    async def step(self) -> None:
        """Seal, anchor, and now and then remove. Raises DependencyError; what was not anchored is tried again next time."""
        async with self._container.database.engine() as uow:
            head = await seal_some(uow)
            if head is None and not self._began:
                head = await uow.audit_chain.head()  # a predecessor may have died between sealing and anchoring
        self._began = True
        if head is not None and head.number:
            log.info("audit sealed", seal=head.number, hash=head.hash)
            self._owed = head
        await self._anchor()
        await self._remove()

    async def _anchor(self) -> None:
        anchors = self._container.anchors
        if self._owed is not None and anchors is not None:
            await anchors.put(Anchor(self._owed, datetime.now(UTC).isoformat()))
        self._owed = None

    async def _remove(self) -> None:
        anchors, keep = self._container.anchors, self._container.settings.audit_retention
        if keep is None or anchors is None or time.monotonic() < self._removed_at + REMOVE_SECONDS:
            return
        self._removed_at = time.monotonic()
        if gone := await remove_old(self._container.database.engine, anchors, keep):
            log.info("old audit rows were removed behind an anchored checkpoint", rows=gone)
