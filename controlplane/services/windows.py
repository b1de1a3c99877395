"""Attaching calendars to tenants: select, work out, and join for all tenants that have the same ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from controlplane.domain.calendars import CalendarSpec
from controlplane.domain.selectors import Selector, parse_selector
from controlplane.domain.windows import NEVER, Attached, Default, Windows, Worked, windows_of
from controlplane.ports.calendars import Calendars, WorkedOut
from controlplane.ports.stores.windows import Attachments, CalendarRow


async def attach(
    found: Attachments, calendars: Calendars, default: Default, now: datetime, *, version: int = -1
) -> Attached:
    """The windows of these tenants. Costs tenants x calendars once for each change of a calendar, and day."""
    if not found.calendars:
        return _without_calendars(found, default, version)
    specs = {row.name: CalendarSpec.model_validate(row.spec) for row in found.calendars}
    texts = {row.digest: specs[row.name].ics for row in found.calendars}
    spans, good_until = await calendars.expand(texts, now)
    worked = [worked_of(row, specs[row.name], spans[row.digest]) for row in found.calendars]
    selectors = [parse_selector(specs[row.name].selector) for row in found.calendars]
    return await asyncio.to_thread(_grouped, found, selectors, worked, default, version, good_until)


def _without_calendars(found: Attachments, default: Default, version: int) -> Attached:
    """No calendar, so no allow calendar: `closed` closes everybody."""
    if default == "open":
        return Attached(version=version)
    return Attached((windows_of((), "UTC", default),), {place.tenant: 0 for place in found.places}, version)


def worked_of(row: CalendarRow, spec: CalendarSpec, spans: WorkedOut) -> Worked:
    """A calendar worked out, or why it can't be."""
    effect: Literal["allow", "deny"] = "deny" if spec.effect == "deny" else "allow"  # `none` is not read here
    if isinstance(spans, str):
        return Worked(row.name, effect, error=spans)
    return Worked(row.name, effect, spans)


def _grouped(
    found: Attachments,
    selectors: Sequence[Selector],
    worked: Sequence[Worked],
    default: Default,
    version: int,
    good_until: datetime,
) -> Attached:
    groups: dict[tuple[tuple[int, ...], str], int] = {}
    windows: list[Windows] = []
    of: dict[str, int] = {}
    for place in found.places:
        mine = tuple(n for n, selector in enumerate(selectors) if selector.matches(place.labels))
        if not mine and default == "open":
            continue
        key = (mine, place.zone)
        if key not in groups:
            groups[key] = len(windows)
            windows.append(windows_of([worked[n] for n in mine], place.zone, default))
        of[place.tenant] = groups[key]
    return Attached(tuple(windows), of, version, good_until if windows else NEVER)
