"""What became of an event, trigger by trigger, and when to look again. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from controlplane.domain.errors import ConflictError, DependencyError, InvalidError, SeawallError
from controlplane.domain.triggers import Match, Miss

Outcome = Literal[
    "started",  # a rollout runs
    "planned",  # a draft waits for a person to start it
    "coalescing",  # waits for newer events
    "coalesced",  # a newer event took its place
    "waiting",  # something is missing that may still come
    "held",  # its release is held
    "rejected",  # the world does not allow it now, and the rule says not to wait
    "nothing-to-do",  # every target runs it already
    "refused",  # it can't be carried out as the trigger says: a dead letter
    "failed",  # tried as often as we try: a dead letter
    "filtered",
    "filter-error",
    "template-error",
    "not-allowed",
    "unheard",  # no trigger listens
]

type Entry = dict[str, Any]
"""One line of an event's fate: outcome, trigger, app, version, reason; rollout, until, into, code, tries where they apply."""

OPEN: Final = frozenset({"coalescing", "waiting"})
DEAD: Final = frozenset({"refused", "failed", "template-error"})
RELEASE_PATIENCE: Final = timedelta(hours=1)
"""An event may come before its release is registered: CI does both. After this long it is a dead letter."""
MAX_TRIES: Final = 12
"""With waits of 1, 2, 4, ... 60 seconds: about seven minutes."""
MAX_BUG_TRIES: Final = 4


def matched(match: Match) -> Entry:
    """The beginning of a match's entry."""
    return {"trigger": match.trigger, "app": match.app, "version": match.version, "tries": 0}


def missed(miss: Miss) -> Entry:
    """A trigger that listened and does nothing."""
    return {"trigger": miss.trigger, "outcome": miss.code, "reason": miss.reason}


def unheard(source: str, heard: Sequence[str]) -> Entry:
    """Nobody listens."""
    listed = ", ".join(heard[:10]) or "none"
    return {
        "trigger": "",
        "outcome": "unheard",
        "reason": f"No trigger listens to {source}. Sources of triggers: {listed}.",
    }


def started(entry: Mapping[str, Any], rollout: str, state: str) -> Entry:
    """It became a rollout."""
    outcome: Outcome = "planned" if state == "draft" else "started"
    reason = "A person starts it." if state == "draft" else "It runs by itself."
    return {**_closed(entry), "outcome": outcome, "rollout": rollout, "reason": reason}


def coalesced(entry: Mapping[str, Any], source: str, event_id: str) -> Entry:
    """A newer event of the window takes its place."""
    into = {"source": source, "id": event_id}
    return {
        **_closed(entry),
        "outcome": "coalesced",
        "into": into,
        "reason": f"The newer event {event_id} took its place.",
    }


def coalescing(entry: Mapping[str, Any], until: datetime) -> Entry:
    """It waits for newer events."""
    return {**entry, "outcome": "coalescing", "until": until.isoformat(), "reason": "It waits for newer events."}


def after_error(entry: Mapping[str, Any], error: Exception, received_at: datetime, now: datetime) -> Entry:
    """What an error of planning or starting means for a match."""
    if not isinstance(error, SeawallError):
        sentence = "Something went wrong inside Seawall; the log of the worker says what."
        return _again(entry, "internal", sentence, now, MAX_BUG_TRIES)
    if isinstance(error, DependencyError) or error.code == "plan-changed":
        return _again(entry, error.code, error.detail, now, MAX_TRIES)
    if error.code == "unknown-release" and now - received_at < RELEASE_PATIENCE:
        return _wait(entry, error.code, error.detail, now)
    return {**_closed(entry), "outcome": _refusal(error), "code": error.code, "reason": error.detail}


def _refusal(error: SeawallError) -> Outcome:
    if error.code == "release-held":
        return "held"
    if error.code == "nothing-to-do":
        return "nothing-to-do"
    if isinstance(error, ConflictError) and not isinstance(error, InvalidError):
        return "rejected"
    return "refused"


def _again(entry: Mapping[str, Any], code: str, reason: str, now: datetime, most: int) -> Entry:
    if entry.get("tries", 0) + 1 >= most:
        return {**_closed(entry), "outcome": "failed", "code": code, "reason": f"Tried {most} times. {reason}"}
    return _wait(entry, code, reason, now)


def _wait(entry: Mapping[str, Any], code: str, reason: str, now: datetime) -> Entry:
    tries = int(entry.get("tries", 0)) + 1
    until = now + timedelta(seconds=min(60, 2 ** min(tries - 1, 6)))
    return {**entry, "outcome": "waiting", "code": code, "reason": reason, "tries": tries, "until": until.isoformat()}


def _closed(entry: Mapping[str, Any]) -> Entry:
    return {k: v for k, v in entry.items() if k not in ("until", "code", "tries")}


def is_open(entry: Mapping[str, Any]) -> bool:
    """Whether something still happens to it."""
    return entry.get("outcome", "waiting") in OPEN


def is_due(entry: Mapping[str, Any], now: datetime) -> bool:
    """Whether it is open and its time has come."""
    until = entry.get("until")
    return is_open(entry) and (until is None or datetime.fromisoformat(until) <= now)


def state_of(fate: Sequence[Mapping[str, Any]]) -> tuple[Literal["waiting", "done", "dead"], datetime | None]:
    """The event's state, and when to look again."""
    times = [datetime.fromisoformat(e["until"]) for e in fate if is_open(e)]
    if times:
        return "waiting", min(times)
    return ("dead" if any(e["outcome"] in DEAD for e in fate) else "done"), None
