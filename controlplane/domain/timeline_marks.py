"""How a timeline is drawn, on a terminal or a page: which sign a change gets, and in which lane it stands. Pure.

Signs are characters, so that nothing is told by colour alone.
"""

from __future__ import annotations

from typing import Final

MARKS: Final = "x!<?+>|"
"""Worst first: of several in one place the first of these is drawn."""
LEGEND: Final = "> starts   + good   x failed   ! a gate's no   < goes back   ? unclear   | other   [=] lasts"
OTHER: Final = "|"
_WORDS: Final = {
    "target-started": ">",
    "started": ">",
    "wave-started": ">",
    "target-verified": "+",
    "wave-passed": "+",
    "succeeded": "+",
    "pass": "+",
    "activated": "+",
    "closed": "+",
    "target-failed": "x",
    "target-stuck": "x",
    "wave-failed": "x",
    "failed": "x",
    "unhealthy": "x",
    "opened": "x",
    "fellIll": "x",
    "blamed": "x",
    "suspected": "?",
    "gate-failed": "!",
    "fail": "!",
    "target-rolling-back": "<",
    "target-rolled-back": "<",
    "aborted": "<",
    "aborting": "<",
    "target-disturbed": "?",
    "target-deferred": "?",
    "unknown": "?",
    "drifted": "?",
}


def mark_of(change: str) -> str:
    """A change's sign."""
    return _WORDS.get(change, OTHER)


def lane_of(role: str, kind: str, id_: str, what: str) -> tuple[str, str]:
    """The lane's key and its name: one for each rollout (with its gates), each calendar, each other kind of thing."""
    short = id_[-8:]  # the end of a UUIDv7: its beginning is the time, the same for neighbours
    if role == "window":
        name = id_.partition("/")[0]
        return f"calendar/{name}", f"calendar {name}"
    if kind == "rollout":
        return id_, f"{_subject(what)} {short}"
    if kind == "gate":
        return id_, f"rollout {short}"
    return kind, kind


def _subject(what: str) -> str:
    """`deploy of odoo/17.0.4 in production, tenant acme-fr` in short: the release."""
    return what.partition(" of ")[2].partition(" in ")[0] or what
