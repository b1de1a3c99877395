"""Where heads of the audit chain are kept outside of the database, so that its owner can't make the chain anew unseen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controlplane.domain.audit_chain import Anchor


class Anchors(Protocol):
    """A place that heads are added to and that the database's owner can't edit."""

    async def put(self, anchor: Anchor) -> None:
        """Write a head durably; raises `DependencyError` (`anchor-unavailable`)."""
        ...

    async def read(self) -> Sequence[Anchor]:
        """All heads that were written; raises `DependencyError` (`anchor-unavailable`)."""
        ...
