"""What every environment was given last that was verified, for the files that outlive Seawall."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class VerifiedApp:
    """An app's newest verified revision; `content` names its body."""

    app: str
    release: str
    revision: int
    verified_at: datetime | None
    content: str


@dataclass(frozen=True, slots=True)
class VerifiedEnvironment:
    """One environment. `walls` as the registry has them; empty: not raised yet."""

    tenant: str
    environment: str
    cluster: str
    namespace: str
    phase: str
    tier: str
    walls: Mapping[str, Any]
    apps: Sequence[VerifiedApp]


class BreakGlassStore(Protocol):
    """Reads for the break-glass files."""

    async def environments(
        self, tenants: Collection[str] | None, after: str = "", limit: int = 500
    ) -> list[VerifiedEnvironment]:
        """All environments of at most `limit` tenants, in order of tenant, from after a name; of all tenants, or of these."""
        ...

    async def changed(self, within: timedelta) -> set[str]:
        """Tenants whose files may have changed in this time: a revision was verified or left, or the tenant itself changed."""
        ...

    async def bodies(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """Content bodies by (tenant, hash)."""
        ...
