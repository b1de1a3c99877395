"""Drift: where a living object is not as Seawall wrote it, and what follows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import Field

from controlplane.domain.adoption import differences
from controlplane.domain.manifests import Manifest, Rendered, mark
from controlplane.domain.tiers import WALLS, DriftPolicy, Policy
from controlplane.domain.wire import Wire

FIGHT: Final = 3
FIGHT_WITHIN: Final = timedelta(hours=1)
"""After so many repairs within so long somebody writes it again and again: it is reported instead."""
_SHOWN: Final = 5

type Key = tuple[str, str]
"""(kind, name)."""
type Wanted = Mapping[Key, tuple[str, Manifest]]
"""Each object with the part it is of."""


class Drifted(Wire):
    """One object that is not as it was written. `part`: `walls`, or the app. `at`: the first places; `by`: the field manager, if known."""

    part: str
    kind: str
    name: str
    at: tuple[str, ...] = ()
    by: str = ""
    missing: bool = False

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Drift(Wire):
    """What is known of an environment's drift. `repairs`: when it was repaired lately; `reason`: why it is not, if it should be."""

    since: datetime | None = None
    objects: tuple[Drifted, ...] = ()
    policy: Policy = "report"
    reason: str = ""
    repairs: tuple[datetime, ...] = Field(default=())


def wanted_objects(walls: Iterable[Manifest], apps: Mapping[str, Rendered], place: tuple[str, str]) -> Wanted:
    """What an environment should hold, by (kind, name); `place` is (tenant, environment)."""
    found: dict[Key, tuple[str, Manifest]] = {}
    for app, rendered in apps.items():
        found |= {_key(one): (app, one) for one in mark(rendered.objects, *place, app)}
    return found | {_key(one): (WALLS, one) for one in walls}


def compare(wanted: Manifest, live: Manifest | None, part: str, by: str) -> Drifted | None:
    """How a living object differs from the wanted one; None if it does not. Fields that we did not write don't count."""
    kind, name = _key(wanted)
    if live is None:
        return Drifted(part=part, kind=kind, name=name, by=by, missing=True)
    prefix = f"/{kind}/{name}"
    found = [one.removeprefix(prefix) for one in differences(_written(wanted), live)]
    return Drifted(part=part, kind=kind, name=name, at=tuple(found[:_SHOWN]), by=by) if found else None


def decide(known: Drift, found: Sequence[Drifted], policy: DriftPolicy, now: datetime) -> Drift:
    """What is known from now on, and by which policy: `repair` if any object is to be repaired."""
    lately = tuple(at for at in known.repairs if at > now - FIGHT_WITHIN)
    if not found:
        return Drift(repairs=lately)
    since = known.since or now
    repair = [one for one in found if policy.of(one.part) == "repair"]
    if not repair:
        return Drift(since=since, objects=tuple(found), repairs=lately)
    if len(lately) >= FIGHT:
        who = next((one.by for one in repair if one.by), "somebody")
        reason = (
            f"It was repaired {len(lately)} times within an hour, and {who} changes it again: find out who that is."
        )
        return Drift(since=since, objects=tuple(found), reason=reason, repairs=lately)
    return Drift(since=since, objects=tuple(found), policy="repair", repairs=(*lately, now))


def to_repair(drift: Drift, policy: DriftPolicy) -> list[Drifted]:
    """The objects that a repair writes again."""
    return [one for one in drift.objects if policy.of(one.part) == "repair"]


def _key(item: Manifest) -> Key:
    return item["kind"], item["metadata"]["name"]


def _written(item: Manifest) -> Manifest:
    """Without what the server answers differently by nature: the namespace is the path's."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "namespace"}
    secret = item["kind"] == "Secret"
    return {k: v for k, v in {**item, "metadata": metadata}.items() if not (secret and k in ("data", "stringData"))}


def facts(drift: Drift) -> dict[str, Any]:
    """What an event says of it."""
    return {
        "policy": drift.policy,
        "objects": [f"{one}{' is gone' if one.missing else ''}" for one in drift.objects][:20],
        "by": sorted({one.by for one in drift.objects if one.by}),
        **({"reason": drift.reason} if drift.reason else {}),
    }
