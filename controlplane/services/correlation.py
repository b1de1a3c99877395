"""Timelines: history, gates' words, ill health and events of calendars, merged; what can't be read is said in a note."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from controlplane.domain.calendars import CalendarSpec
from controlplane.domain.changes import RolloutFacts, tell
from controlplane.domain.correlation import (
    Entry,
    Position,
    Span,
    TimelineNote,
    merged,
    newest_first,
    reason_of,
    role_of,
)
from controlplane.domain.errors import NotFoundError
from controlplane.domain.windows import Named, Windows, windows_of
from controlplane.ports.calendars import Calendars
from controlplane.ports.stores.correlation import IllnessRecord, VerdictRecord
from controlplane.ports.stores.looks import ChangeRecord
from controlplane.ports.stores.windows import Attachments
from controlplane.ports.uow import UnitOfWork
from controlplane.services.windows import attach, worked_of

MOST_WINDOWS: Final = 200
"""Events of calendars on one timeline."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: whose (None: the fleet's), when, and which page."""

    tenant: str | None
    span: Span
    after: Position | None
    limit: int


async def recorded(uow: UnitOfWork, wanted: Wanted) -> list[list[Entry]]:
    """What the registry holds, as sources to merge, each cut one after the page. Raises NotFoundError for a tenant that isn't there."""
    if wanted.tenant is not None and await uow.tenants.get(wanted.tenant) is None:
        raise NotFoundError(f"There is no tenant {wanted.tenant!r} that you may see.")
    page = (wanted.tenant, wanted.span, wanted.after, wanted.limit + 1)
    history = await uow.correlation.history(*page)
    rollouts = await uow.correlation.rollouts({one.id for one in history if one.kind == "rollout"})
    return [
        [_changed(record, rollouts.get(record.id) if record.kind == "rollout" else None) for record in history],
        [_said(one) for one in await uow.correlation.verdicts(*page)],
        [_ill(one) for one in await uow.correlation.ill(*page)],
    ]


async def calendar_entries(
    found: Attachments, calendars: Calendars, tenant: str | None, span: Span
) -> tuple[list[Entry], list[TimelineNote]]:
    """Events of calendars within the span: a tenant's own ones in its zone, or all, in UTC; and what can't be read or is left out."""
    if not found.calendars:
        return [], []
    if tenant is not None:
        attached = await attach(found, calendars, "open", span.since)
        mine = attached.windows(tenant)
        windows = [] if mine is None else [mine]
    else:
        windows = await _all(found, calendars, span.since)
    notes = [TimelineNote(code="calendar-unreadable", detail=one.error) for one in windows if one.error]
    entries = newest_first(_lasting(windows, span))
    if len(entries) > MOST_WINDOWS:
        detail = f"Of {len(entries)} events of calendars the newest {MOST_WINDOWS} are shown."
        notes.append(TimelineNote(code="windows-left-out", detail=detail))
    return entries[:MOST_WINDOWS], notes


def page_of(sources: Sequence[Sequence[Entry]], wanted: Wanted) -> tuple[list[Entry], bool]:
    """One page of all sources together, and whether there are more."""
    return merged(sources, wanted.limit, wanted.after)


async def _all(found: Attachments, calendars: Calendars, since: datetime) -> list[Windows]:
    spans, _ = await calendars.expand({row.digest: str(row.spec["ics"]) for row in found.calendars}, since)
    return [
        windows_of([worked_of(row, CalendarSpec.model_validate(row.spec), spans[row.digest])], "UTC")
        for row in found.calendars
    ]


def _lasting(windows: Iterable[Windows], span: Span) -> list[Entry]:
    return [
        _event(one, effect, span)
        for group in windows
        for effect, listed in (("deny", group.denies), ("allow", group.allows))
        for one in listed
        if one.start < span.until and one.end > span.since
    ]


def _event(one: Named, effect: str, span: Span) -> Entry:
    says = "nothing forward starts" if effect == "deny" else "changes may start"
    return Entry(
        at=max(one.start, span.since),
        until=one.end,
        role="window",
        kind="calendar",
        id=f"{one.calendar}/{one.start:%Y%m%dT%H%M%SZ}/{one.end:%Y%m%dT%H%M%SZ}/{one.summary}",
        change=effect,
        what=f"calendar {one.calendar}" + (f": {one.summary}" if one.summary else ""),
        reason=says,
        data={"start": one.start, "end": one.end},
    )


def _changed(record: ChangeRecord, rollout: RolloutFacts | None) -> Entry:
    word = record.type.split(".")[-2]
    told = tell(record.kind, record.id, word, record.tenant, record.data, rollout)
    return Entry(
        at=record.at,
        role=role_of(record.kind, word),
        kind=record.kind,
        id=record.id,
        seq=record.seq,
        change=word,
        tenant=record.tenant,
        what=told.what,
        reason=told.stopped or reason_of(record.data),
        data=record.data,
    )


def _said(one: VerdictRecord) -> Entry:
    release = f"{one.app}/{one.version}" if one.version else one.app
    whom = f", tenant {one.tenant}" if one.tenant else ""
    return Entry(
        at=one.at,
        role="signal",
        kind="gate",
        id=one.rollout,
        seq=one.number,
        change=one.verdict,
        tenant=one.tenant,
        what=f"gate {one.kind} ({one.place}) of {release}, wave {one.wave}{whom}",
        reason=one.reason,
        data={"rollout": one.rollout, "place": one.place, "index": one.index, "evidence": one.evidence},
    )


def _ill(one: IllnessRecord) -> Entry:
    return Entry(
        at=one.at,
        role="signal",
        kind="health",
        id=f"{one.tenant}/{one.environment}",
        change=one.health,
        tenant=one.tenant,
        what=f"environment {one.environment}, tenant {one.tenant}, as last seen",
        reason=one.reason,
    )
