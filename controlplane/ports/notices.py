"""Notices given to tenants' owners before a change."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Announced:
    """A change that owners are told of: a release of an app, in an environment. `rollout`: which first wanted it."""

    rollout: uuid.UUID
    app: str
    release: str
    environment: str


@dataclass(frozen=True, slots=True)
class Asks:
    """What of a release may ask for notice."""

    database: str
    risks: tuple[str, ...]


class NoticeStore(Protocol):
    """In one transaction."""

    async def give(self, change: Announced, whom: Mapping[str, tuple[str, timedelta]]) -> None:
        """Tell owners who don't know yet: tenant -> why, and how long before. Writes `dev.seawall.notice.given.v1` for each."""
        ...


class Notices(Protocol):
    """As the gate needs them."""

    async def asks(self, app: str, release: str) -> Asks:
        """What of a registered release may ask for notice; a release that is not registered asks nothing."""
        ...

    async def told(
        self, change: Announced, tenants: Sequence[str], why: str, period: timedelta
    ) -> Mapping[str, datetime]:
        """Since when each owner knows; whoever did not know is told now."""
        ...
