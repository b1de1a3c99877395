"""The audit trail's chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controlplane.domain.audit_chain import AuditFields, Seal


class AuditChainStore(Protocol):
    """Sealing audit rows, and reading them as they were sealed."""

    async def begin(self) -> bool:
        """Become the one sealer until the transaction ends; False if another is at work."""
        ...

    async def head(self) -> Seal:
        """The newest seal; number 0 before the first."""
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
