"""From a stored event to its fate. What it starts and what its fate says are one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from controlplane.domain import fates
from controlplane.domain.errors import SeawallError
from controlplane.domain.events import newest_first
from controlplane.domain.fates import Entry
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.domain.triggers import Match, Miss, Trigger, match, sources_heard
from controlplane.ports.expressions import Expressions
from controlplane.ports.stores.events import EventRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services.rollouts.prepare import Prepared, prepare
from controlplane.services.rollouts.start import start
from controlplane.services.rollouts.tools import RolloutTools

log = structlog.get_logger(__name__)

CLAIM: Final = timedelta(seconds=30)
"""When another worker may try as well. Two at once start one rollout: the row is locked and looked at again before anything starts."""

MAX_CLAIMS: Final = 10

type Triggers = Mapping[str, Trigger]
type Ready = tuple[Entry, Prepared | Exception]


@dataclass(frozen=True)
class EventTools:
    """What processing needs from outside. `rollouts.open` begins transactions as the engine."""

    rollouts: RolloutTools
    expressions: Expressions


async def claim_due(tools: EventTools, limit: int) -> Sequence[EventRecord]:
    """Take due events for this worker."""
    async with tools.rollouts.open() as uow:
        return await uow.events.claim(limit, uow.now + CLAIM)


async def bury(tools: EventTools, record: EventRecord) -> None:
    """After an error of our own: let the event come again, or, tried often enough, make it a dead letter that can be redriven."""
    if record.attempts < MAX_CLAIMS:
        return
    async with tools.rollouts.open() as uow:
        stored = await uow.events.get(record.event.source, record.event.id, lock=True)
        if stored is not None and stored.state in ("received", "waiting"):
            reason = "Something went wrong inside Seawall each time; the log of the worker says what."
            entry = {"trigger": "", "outcome": "failed", "code": "internal", "reason": reason}
            kept = [e for e in stored.fate if not fates.is_open(e)]
            await uow.events.settle(stored, "dead", [*kept, entry], None)


async def process(tools: EventTools, record: EventRecord) -> None:
    """Carry one claimed event as far as it goes now. An error of the database leaves it claimed: it comes again."""
    source, event_id = record.event.source, record.event.id
    async with tools.rollouts.open() as uow:
        triggers = await _triggers(uow)
        stored = await uow.events.get(source, event_id, lock=True)
        if stored is None or stored.state not in ("received", "waiting"):
            return
        fate = await _look(uow, tools.expressions, triggers, stored)
        state, due = fates.state_of(fate)
        ready = [entry for entry in fate if fates.is_due(entry, uow.now)]
        await uow.events.settle(stored, state, fate, uow.now + CLAIM if ready else due)
    if ready:
        outcomes = [(entry, await _prepared(tools, triggers[entry["trigger"]], entry)) for entry in ready]
        await _finish(tools, source, event_id, triggers, outcomes)


async def _triggers(uow: UnitOfWork) -> dict[str, Trigger]:
    found: dict[str, Trigger] = {}
    after: str | None = None
    while page := await uow.configuration.page("triggers", after, 200):
        found |= {record.name: Trigger.model_validate(record.spec) for record in page}
        after = page[-1].name
    return found


async def _look(uow: UnitOfWork, expressions: Expressions, triggers: Triggers, stored: EventRecord) -> list[Entry]:
    """The event's fate after asking every trigger (the first time) or those that are still open (later)."""
    asked = (
        triggers
        if not stored.fate
        else {e["trigger"]: triggers[e["trigger"]] for e in stored.fate if _asks(e, triggers)}
    )
    found = {m.trigger: m for m in match(asked, stored.event, stored.received_from, expressions.test)}
    if not stored.fate:
        if not found:
            return [fates.unheard(stored.event.source, sources_heard(triggers))]
        return [await _first(uow, triggers, stored, m) for m in found.values()]
    return [_still(entry, found) if fates.is_open(entry) else entry for entry in stored.fate]


def _asks(entry: Mapping[str, Any], triggers: Triggers) -> bool:
    return fates.is_open(entry) and entry["trigger"] in triggers


def _still(entry: Entry, found: Mapping[str, Match | Miss]) -> Entry:
    """An open entry, unless its trigger was deleted or changed its mind meanwhile."""
    now = found.get(entry["trigger"])
    if now is None:
        return fates.missed(
            Miss(entry["trigger"], "filtered", "The trigger was deleted, or listens to another source now.")
        )
    if isinstance(now, Miss):
        return fates.missed(now)
    return {**entry, "app": now.app, "version": now.version}


async def _first(uow: UnitOfWork, triggers: Triggers, stored: EventRecord, found: Match | Miss) -> Entry:
    if isinstance(found, Miss):
        return fates.missed(found)
    entry = fates.matched(found)
    if stored.apps is not None and found.app not in stored.apps:
        reason = f"Its sender may start only: {', '.join(sorted(stored.apps))}."
        return {"trigger": found.trigger, "outcome": "not-allowed", "app": found.app, "reason": reason}
    window = triggers[found.trigger].coalesce
    if window is None:
        return {**entry, "outcome": "waiting", "until": uow.now.isoformat(), "reason": "It is being planned."}
    return await _join_window(uow, stored, entry, window)


async def _join_window(uow: UnitOfWork, stored: EventRecord, entry: Entry, window: timedelta) -> Entry:
    """Among the events of a trigger and app that wait, only the newest goes on; the window ends when the first one's ends."""
    trigger, app = entry["trigger"], entry["app"]
    await uow.events.lock_window(trigger, app)
    others = [r for r in await uow.events.waiting_for(trigger, app) if r.event != stored.event]
    everybody = [stored, *others]
    newest = everybody[newest_first([(r.event.time, r.received_at, r.event.id) for r in everybody])[0]]
    ends = min([stored.received_at + window, *(_window_end(r, trigger) for r in others)])
    for other in others:
        await _yield(uow, other, trigger, newest, ends)
    if newest is not stored:
        return fates.coalesced(entry, newest.event.source, newest.event.id)
    return fates.coalescing(entry, ends)


def _window_end(record: EventRecord, trigger: str) -> datetime:
    return min(datetime.fromisoformat(e["until"]) for e in record.fate if e["trigger"] == trigger)


async def _yield(uow: UnitOfWork, record: EventRecord, trigger: str, newest: EventRecord, ends: datetime) -> None:
    """Let a waiting event give way to the newest one, or, if it is the newest, keep the window's end."""
    mine = record is newest
    fate = [
        entry
        if entry["trigger"] != trigger or not fates.is_open(entry)
        else (fates.coalescing(entry, ends) if mine else fates.coalesced(entry, newest.event.source, newest.event.id))
        for entry in record.fate
    ]
    state, due = fates.state_of(fate)
    await uow.events.settle(record, state, fate, due)


async def _prepared(tools: EventTools, rule: Trigger, entry: Entry) -> Prepared | Exception:
    """The plan, or what stood against it."""
    request = RolloutRequest(
        release=f"{entry['app']}/{entry['version']}",
        environment=rule.rollout.environment,
        selector=rule.rollout.selector,
        strategy=rule.rollout.strategy,
        reason=f"Trigger {entry['trigger']}",
        when_busy=rule.when_busy,
    )
    try:
        return await prepare(tools.rollouts, Ask(request))
    except SeawallError as error:
        return error
    except Exception as error:
        log.exception("an event could not be planned", trigger=entry["trigger"])
        return error


async def _finish(tools: EventTools, source: str, event_id: str, triggers: Triggers, outcomes: Sequence[Ready]) -> None:
    """Start what is ready and write the fate, in one transaction; an entry that gave way meanwhile starts nothing."""
    async with tools.rollouts.open() as uow:
        stored = await uow.events.get(source, event_id, lock=True)
        if stored is None:
            return
        done = {entry["trigger"]: (entry, prepared) for entry, prepared in outcomes}
        fate = []
        for entry in stored.fate:
            if fates.is_open(entry) and entry["trigger"] in done:
                wish, prepared = done[entry["trigger"]]
                rule = triggers[entry["trigger"]]
                fate.append(await _start(uow, stored, {**entry, **_names(wish)}, rule, prepared))
            else:
                fate.append(entry)
        state, due = fates.state_of(fate)
        await uow.events.settle(stored, state, fate, due)


def _names(entry: Entry) -> Entry:
    return {"app": entry["app"], "version": entry["version"]}


async def _start(
    uow: UnitOfWork, stored: EventRecord, entry: Entry, rule: Trigger, prepared: Prepared | Exception
) -> Entry:
    if isinstance(prepared, Exception):
        return fates.after_error(entry, prepared, stored.received_at, uow.now)
    origin = {
        "kind": "trigger",
        "trigger": entry["trigger"],
        "source": stored.event.source,
        "event": stored.event.id,
        "receivedFrom": stored.received_from,
    }
    # Nobody can give his word for a trigger: what gives a way back up is left for a person to start.
    mode = "plan" if prepared.plan.giving_up() else rule.mode
    try:
        async with uow.savepoint():
            made = await start(uow, prepared, actor=f"trigger:{entry['trigger']}", origin=origin, mode=mode)
    except SeawallError as error:
        return fates.after_error(entry, error, stored.received_at, uow.now)
    return fates.started(entry, str(made.id), made.state)
