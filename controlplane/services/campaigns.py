"""What calendars mark as changes of the world: campaigns of tenants, maintenance of clusters. Candidates for blame."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from controlplane.domain.blame import Touch
from controlplane.domain.blame_acts import CAMPAIGN
from controlplane.domain.calendars import CalendarSpec
from controlplane.domain.selectors import parse_selector
from controlplane.domain.windows import Span, in_utc
from controlplane.ports.calendars import Calendars
from controlplane.ports.stores.windows import Attachments, CalendarRow, Place

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Campaigns:
    """Marked events that began lately: whom each reached, and which go on now."""

    touches: Sequence[Touch] = ()
    going: frozenset[str] = field(default_factory=frozenset)

    def reaching(self, tenants: Collection[str]) -> list[Touch]:
        """All touches of those that reached one of these tenants."""
        involved = {touch.change for touch in self.touches if touch.tenant in tenants}
        return [touch for touch in self.touches if touch.change in involved]

    def goes_on(self, change: str) -> bool:
        """Whether it is on now for any of its tenants."""
        return change in self.going


async def campaigns_of(marked: Attachments, calendars: Calendars, since: datetime, now: datetime) -> Campaigns:
    """Work marked calendars out. One that can't be worked out is no candidate, and the log says so.

    An event reaches a tenant when it begins; calendars are worked out from the day before `now`, so one that began earlier is missed.
    """
    if not marked.calendars:
        return Campaigns()
    specs = {row.name: CalendarSpec.model_validate(row.spec) for row in marked.calendars}
    spans, _ = await calendars.expand({row.digest: specs[row.name].ics for row in marked.calendars}, now)
    touches: list[Touch] = []
    going: set[str] = set()
    for row in marked.calendars:
        found = spans[row.digest]
        if isinstance(found, str):
            log.warning(
                "a marked calendar can't be worked out, so it is no candidate for blame", name=row.name, why=found
            )
            continue
        selector = parse_selector(specs[row.name].selector)
        places = [place for place in marked.places if selector.matches(place.labels)]
        for span in found:
            _take(span, row, specs[row.name], places, (since, now), touches, going)
    return Campaigns(touches, frozenset(going))


def _take(
    span: Span,
    row: CalendarRow,
    spec: CalendarSpec,
    places: Sequence[Place],
    within: tuple[datetime, datetime],
    touches: list[Touch],
    going: set[str],
) -> None:
    """One event: a touch for each tenant for whom it began in time."""
    since, now = within
    named = f"{CAMPAIGN}{row.name}@{span.start.isoformat()}"
    what = f"{spec.marks} {span.summary} (calendar {row.name})" if span.summary else f"{spec.marks} {row.name}"
    for place in places:
        start, end = in_utc(span, place.zone)
        if since <= start <= now:
            touches.append(Touch(named, what, place.tenant, start))
            if now < end:
                going.add(named)
