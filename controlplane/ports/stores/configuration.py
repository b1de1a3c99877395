"""Configuration objects and their immutable versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class ConfigRecord:
    """One version of one object. `spec` is the JSON of its kind's model, `digest` its hash."""

    kind: str
    name: str
    version: int
    spec: dict[str, Any]
    digest: str
    created_at: datetime
    created_by: str


class ConfigStore(Protocol):
    """Objects of the kinds `apps tiers clusters calendars strategies triggers rules webhooks ...`."""

    async def lock(self, kind: str, name: str) -> None:
        """Let one writer at a time change this object, until the transaction ends."""
        ...

    async def current(self, kind: str, name: str) -> ConfigRecord | None:
        """The version in force; None if there is none, or it was deleted."""
        ...

    async def version(self, kind: str, name: str, version: int) -> ConfigRecord | None:
        """One version, whether in force or not."""
        ...

    async def newest(self, kind: str, name: str) -> int:
        """The highest version number ever given; 0 if none was."""
        ...

    async def page(self, kind: str, after: str | None, limit: int) -> list[ConfigRecord]:
        """Versions in force, by name, from after a name."""
        ...

    async def put(self, record: ConfigRecord) -> None:
        """Store a new version and put it in force."""
        ...

    async def remove(self, kind: str, name: str) -> None:
        """Put no version in force; all versions stay readable."""
        ...

    async def users(self, kind: str, name: str) -> Sequence[str]:
        """Up to five things that need this object, such as `tenant acme-fr`."""
        ...
