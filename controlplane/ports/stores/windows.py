"""Calendars in force, and what says whose they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from controlplane.domain.window_views import WaveAhead


@dataclass(frozen=True, slots=True)
class CalendarRow:
    """A calendar in force."""

    name: str
    digest: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant's labels, built-in keys included, in one environment, and its time zone."""

    tenant: str
    labels: Mapping[str, str]
    zone: str


@dataclass(frozen=True, slots=True)
class Attachments:
    """Calendars, and the tenants they may be about; no tenants where there are no calendars."""

    calendars: Sequence[CalendarRow] = ()
    places: Sequence[Place] = ()


class WindowStore(Protocol):
    """Reads both in one go."""

    async def attachments(self, tenants: Collection[str] | None, environment: str) -> Attachments:
        """The calendars in force, and these tenants (None: all)."""
        ...

    async def marked(self, environment: str) -> Attachments:
        """The calendars whose events are campaigns or maintenance, and all tenants; no tenants where there are no such calendars."""
        ...

    async def waves_ahead(self) -> list[WaveAhead]:
        """Waves of rollouts that are not over, with when they should run; at most 1,000."""
        ...
