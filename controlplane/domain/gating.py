"""Gates as the engine sees them: where they stand, what each last said, and what that means for a wave or a single target.

`pass` opens, `wait` is not yet, `fail` ends the wave, `unknown` could not measure: never health, never the release's fault. A gate that
stays unknown longer than its own limit holds for a person, or fails where its spec says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from controlplane.domain.plans import Plan

Place = Literal["before", "beforeEach", "during", "after"]
"""`beforeEach` stands before every single target of a wave, with a verdict for each; the others before, in or after the whole wave."""
UNKNOWN_FOR = timedelta(minutes=10)


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105 -- a verdict, not a password
    WAIT = "wait"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, order=True)
class GateKey:
    """Which gate of a rollout: its wave, its place in it, its number there; before a single target also whose."""

    wave: int
    place: Place
    index: int
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What judging evidence gives. `until`: when it may change by itself; `who`: who can end the wait; `tenants`: the ones to blame.

    `look`: what this one look says by itself, for a gate that judges several in a row; the keeper remembers it and gives it back
    in the evidence of the next ones as `looks`, oldest first. `detail`: what explains the verdict, as JSON, stored with the evidence as `judgement`.
    """

    verdict: Verdict
    reason: str
    until: datetime | None = None
    who: str = ""
    tenants: tuple[str, ...] = ()
    look: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateNow:
    """A gate of a rollout and what it last said. `since`: when it began to say so; None: never asked."""

    key: GateKey
    kind: str
    spec: Mapping[str, Any]
    verdict: Verdict = Verdict.WAIT
    reason: str = "not asked yet"
    since: datetime | None = None
    until: datetime | None = None
    who: str = ""


@dataclass(frozen=True, slots=True)
class GateJudged:
    """A change for `decide`: a gate was judged. `evidence` is stored with the verdict and shown."""

    key: GateKey
    judged: Judged
    evidence: Mapping[str, Any] = field(default_factory=dict)


def gates_of(plan: Plan) -> dict[GateKey, GateNow]:
    """Every gate of a plan's waves; those of `during` stand in every wave. Gates before single targets: see `gates_of_target`."""
    found: dict[GateKey, GateNow] = {}
    for number, wave in enumerate(plan.waves):
        places: dict[Place, Iterable[Mapping[str, Any]]] = {
            "before": wave.before,
            "during": plan.during,
            "after": wave.after,
        }
        for place, specs in places.items():
            for index, spec in enumerate(specs):
                kind, body = next(iter(spec.items()))
                key = GateKey(number, place, index)
                found[key] = GateNow(key, kind, body if isinstance(body, Mapping) else {})
    return found


def gates_of_target(plan: Plan, wave: int, tenant: str = "") -> tuple[GateNow, ...]:
    """The gates that stand before one target of a wave, not asked yet. Without a tenant: what they ask, whoever comes."""
    found = []
    for index, spec in enumerate(plan.waves[wave].before_each):
        kind, body = next(iter(spec.items()))
        key = GateKey(wave, "beforeEach", index, tenant)
        found.append(GateNow(key, kind, body if isinstance(body, Mapping) else {}))
    return tuple(found)


Passage = Literal["open", "unasked", "waiting"]


def passage(gates: Iterable[GateNow], now: datetime) -> Passage:
    """Whether a target may pass the gates before it. A pass counts until its `until`: whoever comes later is asked again."""
    found: Passage = "open"
    for gate in gates:
        if gate.since is None or (gate.verdict is Verdict.PASS and gate.until is not None and gate.until <= now):
            found = "unasked" if found == "open" else found
        elif gate.verdict is not Verdict.PASS:
            found = "waiting"
    return found


def after_judging(gate: GateNow, judged: Judged, now: datetime) -> GateNow:
    """The gate after it was judged: `since` moves only when the verdict does."""
    since = gate.since if gate.since is not None and gate.verdict is judged.verdict else now
    return replace(gate, verdict=judged.verdict, reason=judged.reason, since=since, until=judged.until, who=judged.who)


Opening = Literal["open", "waiting", "failed"]


def opening(gates: Iterable[GateNow], now: datetime) -> tuple[Opening, GateNow | None]:
    """What gates that stand together say: the first that failed, else the first that does not pass, else open."""
    waiting: GateNow | None = None
    for gate in gates:
        if refuses(gate, now):
            return "failed", gate
        if gate.verdict is not Verdict.PASS and waiting is None:
            waiting = gate
    return ("open", None) if waiting is None else ("waiting", waiting)


def refuses(gate: GateNow, now: datetime) -> bool:
    """Whether a gate said no, or could not measure for longer than its spec bears."""
    return gate.verdict is Verdict.FAIL or _unknown_too_long(gate, now)


def _unknown_too_long(gate: GateNow, now: datetime) -> bool:
    """Whether a gate could not measure for longer than its own limit, and its spec says that this fails (the default holds)."""
    limit = gate.spec.get("unknown")
    if (
        gate.verdict is not Verdict.UNKNOWN
        or gate.since is None
        or not isinstance(limit, Mapping)
        or limit.get("then") != "fail"
    ):
        return False
    seconds = limit.get("seconds", UNKNOWN_FOR.total_seconds())
    return now >= gate.since + timedelta(seconds=float(seconds))
