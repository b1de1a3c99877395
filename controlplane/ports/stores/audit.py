"""The audit trail's chain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from controlplane.domain.audit_chain import AuditFields, Checkpoint, Seal


class AuditChainStore(Protocol):
    """Sealing audit rows, and reading them as they were sealed."""

    async def begin(self) -> bool:
        """Become the one sealer until the transaction ends; False if another is at work."""
        ...

    async def head(self) -> Seal:
        """The newest seal; number 0 before the first."""
        ...

    async def checkpoint(self) -> Checkpoint | None:
        """Where the chain begins; None while nothing was ever removed."""
        ...

    async def waiting(self) -> tuple[int, timedelta]:
        """How many committed rows are not sealed yet, and how old the oldest of them is."""
        ...

    async def removable(self, before: datetime, most: int) -> Seal | None:
        """The last seal of the oldest rows that are all older than `before`, `most` of them at most; None if there is none."""
        ...

    async def remove(self, upto: Seal, before: datetime) -> int:
        """Remove rows up to a seal and note the checkpoint; the database refuses it for young rows or another hash. Returns how many."""
        ...

    async def publish(self, change: str, rows: Sequence[tuple[Seal, AuditFields]]) -> None:
        """Send sealed rows out as events (`dev.seawall.audit.<change>.v1`), each with its seal and hash, numbered by its seal."""
        ...

    async def unsealed(self, limit: int) -> list[AuditFields]:
        """Rows that are committed and not sealed yet, by id."""
        ...

    async def seal(self, sealed: Sequence[tuple[int, Seal]]) -> None:
        """Write seals of rows, by row id."""
        ...

    async def sealed(self, after: int, limit: int) -> list[tuple[Seal, AuditFields]]:
        """Sealed rows in the chain's order, from after a number."""
        ...
