"""Changes as marks on other people's charts: the body of Grafana's `POST /api/annotations`. Pure.

Protocol: https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/annotations/ (`time` in milliseconds, `tags`, `text`;
without a dashboard it is the organization's, shown on each dashboard that asks for its tags). Grafana shows `text` as HTML, so what
people wrote is escaped.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any, Final

from controlplane.domain.correlation import reason_of, role_of
from controlplane.domain.event_catalogue import CATALOGUE
from controlplane.domain.events_out import Change

TAG: Final = "seawall"
"""Every annotation of ours carries it."""
MOST_TEXT: Final = 1000
_SAYS: Final = {one.type: one.says for one in CATALOGUE}


def annotation_of(change: Change) -> dict[str, Any]:
    """An organization annotation at the moment of the change. Tags: `seawall`, its role, what changed and how, whose, which app."""
    word = change.type.split(".")[-2]
    app = change.data.get("app") or str(change.data.get("release") or "").partition("/")[0]
    tags = [TAG, role_of(change.kind, word), change.kind, word]
    tags += [f"tenant:{change.tenant}"] if change.tenant else []
    tags += [f"app:{app}"] if app else []
    return {"time": _milliseconds(change.time), "tags": tags, "text": escape(_text(change)[:MOST_TEXT])}


def _text(change: Change) -> str:
    whose = f", tenant {change.tenant}" if change.tenant and change.kind != "tenant" else ""
    release = f" {change.data['release']}" if isinstance(change.data.get("release"), str) else ""
    reason = reason_of(change.data)
    says = _SAYS.get(change.type, change.type)
    return f"{change.kind} {change.subject_id}{release}{whose}: {says}" + (f" {reason}" if reason else "")


def _milliseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)
