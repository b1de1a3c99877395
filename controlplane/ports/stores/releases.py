"""Releases, their artifacts, and holds."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class ArtifactRecord:
    """An uploaded artifact without its bytes."""

    digest: str
    media_type: str
    size: int
    created_at: datetime
    created_by: str


@dataclass(frozen=True)
class HoldRecord:
    """No trigger starts these bytes while `lifted_at` is None. `rollout_id`: which rollout's failure made it."""

    id: uuid.UUID
    app: str
    version: str
    digest: str
    reason: str
    rollout_id: uuid.UUID | None
    created_at: datetime
    created_by: str
    lifted_at: datetime | None = None
    lifted_by: str = ""
    lift_reason: str = ""


@dataclass(frozen=True)
class ReleaseRecord:
    """A registered release. `spec` is a `ReleaseSpec` as JSON; `hold` is the open hold of its bytes.

    `on_behalf_of`: whom the token of a CI run names as the one who set it off; empty if it was registered otherwise.
    """

    app: str
    version: str
    spec: dict[str, Any]
    digest: str
    created_at: datetime
    created_by: str
    proven_at: datetime | None = None
    proven_by: uuid.UUID | None = None
    on_behalf_of: str = ""
    hold: HoldRecord | None = None


type ReleasePosition = tuple[datetime, str, str]
"""Made at, app, version: newest first."""


class ReleaseStore(Protocol):
    """What is released."""

    async def put_artifact(self, record: ArtifactRecord, content: bytes) -> bool:
        """Store an artifact. False if it was there."""
        ...

    async def artifact_info(self, digest: str) -> ArtifactRecord | None:
        """An artifact without its bytes."""
        ...

    async def artifact(self, digest: str) -> bytes | None:
        """An artifact's bytes."""
        ...

    async def add(self, record: ReleaseRecord) -> bool:
        """Store a release. False if its version exists."""
        ...

    async def get(self, app: str, version: str) -> ReleaseRecord | None:
        """A release with the open hold of its bytes."""
        ...

    async def page(
        self, apps: Collection[str] | None, after: ReleasePosition | None, limit: int
    ) -> list[ReleaseRecord]:
        """Releases of some apps (None: of all), newest first."""
        ...

    async def holds(self, after: uuid.UUID | None, limit: int, *, lifted: bool) -> list[HoldRecord]:
        """Holds, newest first: the open ones, with `lifted` all."""
        ...

    async def lift(self, hold_id: uuid.UUID, at: datetime, by: str, reason: str) -> bool:
        """End a hold. False if it ended before."""
        ...
