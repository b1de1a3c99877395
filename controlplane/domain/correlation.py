"""A timeline: what changed and what was seen, of one tenant or the fleet, on one axis of time. Pure.

Entries are ordered newest first by their position (time, kind, id, number), which nothing else shares, so that several sources merge
into pages without a loss or a repeat. Series of the metric source lie on steps counted from the span's beginning.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, Literal

from pydantic import Field

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.quantities import Duration, format_duration
from controlplane.domain.wire import Wire

type Role = Literal["change", "signal", "window"]
type Position = tuple[datetime, str, str, int]
"""Time, kind, id and number."""

LONGEST: Final = timedelta(days=92)
POINTS: Final = 120
"""So many points a series has at most, and a few more where the step was rounded."""
STEPS: Final = tuple(
    timedelta(seconds=s) for s in (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
)
"""Steps of series: those that people count in, none below a common scrape interval."""

_SIGNALS: Final = frozenset(
    {
        ("rollout", "gate-failed"),
        ("rollout", "target-failed"),
        ("rollout", "target-disturbed"),
        ("rollout", "target-stuck"),
        ("rollout", "wave-failed"),
        ("rollout", "fellIll"),
        ("rollout", "blamed"),
        ("rollout", "acquitted"),
        ("rollout", "suspected"),
        ("tenant", "drifted"),
        ("tenant", "driftEnded"),
        ("tenant", "registryDiffered"),
        ("cluster", "compared"),
    }
)
"""Of what history holds, that which was seen rather than done."""
SEEN_KINDS: Final = frozenset({"gate", "health"})
"""Kinds of entries that come from other tables than history: the last word of a gate, ill health."""


class Entry(Wire):
    """One thing on the axis."""

    at: datetime
    until: datetime | None = Field(default=None, description="Where it ends, of what lasts: an event of a calendar.")
    role: Role = Field(
        description="change: somebody or Seawall did it; signal: it was seen; window: an event of a calendar."
    )
    kind: str = Field(description="What kind of thing: rollout, tenant, cluster, freeze, gate, health, calendar, ...")
    id: str
    seq: int = Field(default=0, description="Counts the changes of this thing.")
    change: str = Field(description="The change: started, target-verified, ... Of a gate or health: what it says.")
    tenant: str | None = None
    what: str = Field(description="In a few words.")
    reason: str = Field(default="", description="Why, where that is known.")
    data: dict[str, Any] = Field(default_factory=dict, description="The event's data, or a gate's evidence.")

    @property
    def position(self) -> Position:
        """Its place in the order."""
        return self.at, self.kind, self.id, self.seq


class SignalSeries(Wire):
    """One tenant's values of a signal; `tenant` is null where the query gives one for all."""

    tenant: str | None
    points: tuple[tuple[datetime, float], ...] = Field(
        description="Time and value, oldest first; what is not a number is left out."
    )


class Signal(Wire):
    """A named query of the catalogue over the span. `unknown`: it could not be measured, for the reason given."""

    name: str
    says: str
    unit: str
    max: float | None = Field(description="Above this a gate calls it bad, by default.")
    min: float | None = Field(description="Below this a gate calls it bad, by default.")
    state: Literal["measured", "unknown"]
    reason: str = ""
    series: tuple[SignalSeries, ...] = Field(default=(), description="Of the fleet: the tenants with the worst values.")


class TimelineNote(Wire):
    """What is not on the timeline although it belongs there, and why."""

    code: str
    detail: str


class Timeline(Wire):
    """A page of a timeline, newest first; series come with the first page only."""

    tenant: str | None
    since: datetime
    until: datetime
    step: Duration = Field(description="Distance of two points of a series.")
    items: list[Entry]
    signals: tuple[Signal, ...] = ()
    complete: bool = Field(description="This page reaches back to `since`, and nothing that was asked for is missing.")
    notes: tuple[TimelineNote, ...] = ()
    next: str | None = Field(
        default=None, exclude_if=lambda v: v is None, description="Address of the next page; absent on the last."
    )


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when; `step` is the distance of two points of a series."""

    since: datetime
    until: datetime

    @property
    def step(self) -> timedelta:
        """The smallest of the usual steps that gives about `POINTS` points at most."""
        least = timedelta(seconds=(self.until - self.since) // timedelta(seconds=POINTS))
        return next((step for step in STEPS if step >= least), STEPS[-1])


def checked_span(since: datetime, until: datetime) -> Span:
    """A span that can be shown, from a whole second on. Raises InvalidError for one that is empty or longer than 92 days."""
    if since >= until:
        detail = f"since ({since:%Y-%m-%dT%H:%M:%SZ}) is not before until ({until:%Y-%m-%dT%H:%M:%SZ})."
        raise InvalidError(detail, errors=[FieldError("query/since", "is not before until")])
    if until - since > LONGEST:
        detail = f"A timeline covers {format_duration(LONGEST)} at most. Give a later since, or an earlier until."
        raise InvalidError(detail, errors=[FieldError("query/since", "is too long before until")])
    return Span(since.replace(microsecond=0), until)


def role_of(kind: str, change: str) -> Role:
    """Whether a change in history is something done or something seen."""
    return "signal" if (kind, change) in _SIGNALS else "change"


def merged(sources: Iterable[Sequence[Entry]], limit: int, after: Position | None = None) -> tuple[list[Entry], bool]:
    """The newest `limit` entries of sources that are each in order, and whether there are more.

    `after`: only those older than this position. A source that was cut must hold more than `limit` of those.
    """
    newest_first = heapq.merge(*sources, key=lambda one: one.position, reverse=True)
    older = (one for one in newest_first if after is None or one.position < after)
    found = list(islice(older, limit + 1))
    return found[:limit], len(found) > limit


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    """Put entries in order."""
    return sorted(entries, key=lambda one: one.position, reverse=True)


def finite(points: Iterable[tuple[float, float]], zone: Any) -> tuple[tuple[datetime, float], ...]:
    """Points (Unix seconds, value) as times of a zone, without what is no number."""
    return tuple((datetime.fromtimestamp(at, zone), value) for at, value in points if math.isfinite(value))


def reason_of(data: Mapping[str, Any]) -> str:
    """Why, as an event's data says it: its reason, else its code; with the gate or person it comes from."""
    reason = str(data.get("reason") or data.get("code") or "")
    source = data.get("gate") or data.get("by")
    return ": ".join(part for part in (source if isinstance(source, str) else "", reason) if part)
