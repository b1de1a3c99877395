"""What follows from a vote on blame: whom it stops, whose failures it puts down to another, whom it is only told to. Pure.

A vote changes something only where the accused change can be taken back or passes by itself: a rollout that still runs and that its
strategy and the fleet let a vote stop, or a campaign or an upgrade of a cluster that goes on now. Of all else people are told, and
failures count as they always do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from controlplane.domain.blame import Judged, Touch
from controlplane.domain.rollouts import ROLLOUT_OVER

type BlamePolicy = Literal["stop", "show"]
type Act = Literal["stop", "stopped", "hold", "tell", "none"]
type Pair = tuple[str, str]
"""An ill tenant, and when the accused change reached it last (ISO 8601): what a verdict rests on."""

BLAMED: Final = "blamed"
"""Code of a rollout, wave and target that a vote stopped."""
RECOVERS: Final = timedelta(minutes=10)
"""So long after the guilty rollout has gone back its tenants may still look ill to others, such as a rate over five minutes."""
ROLLOUT: Final = "rollout/"
CAMPAIGN: Final = "calendar/"
UPGRADE: Final = "upgrade/"


@dataclass(frozen=True, slots=True)
class Accused:
    """The rollout that a vote names. `outcome`: how it ended, `ended_at` when; `policy`: what its strategy lets a vote do."""

    id: str
    kind: str
    state: str
    outcome: str = ""
    emergency: bool = False
    policy: BlamePolicy = "stop"
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A vote and what must be known to act on it.

    `asker`: the rollout whose tenants are ill; `policies`: its strategy's and the fleet's; `accused`: the rollout that is blamed, None if
    it is none; `goes_on`: whether the accused campaign, or upgrade of a cluster, goes on now; `fresh`: whether the vote rests on something new.
    """

    judged: Judged
    asker: str
    policies: Collection[BlamePolicy]
    accused: Accused | None
    goes_on: bool
    fresh: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Ruling:
    """What follows. `stop`: the accused is halted; `stopped`: it was, and goes back; `hold`: nobody can be stopped, what is ill waits until
    it has passed; `tell`: nothing but people changes. `why`: said to people. `excused`: ill tenants whose failures don't count
    against the asker now.
    """

    act: Act
    why: str = ""
    excused: frozenset[str] = frozenset()


def rule(case: Case) -> Ruling:
    """Say what follows from a vote."""
    judged = case.judged
    if judged.verdict == "nobody":
        return Ruling("none")
    if judged.verdict != "blamed":
        return Ruling("tell", "Nobody is stopped on such a vote.")
    (guilty,) = judged.blamed
    if guilty == f"{ROLLOUT}{case.asker}":
        return Ruling("tell", "Its own limits and gates stop it.")
    if "show" in case.policies:
        return Ruling("tell", "Blame is only shown here (`blame: show`).")
    if case.goes_on:
        return Ruling("hold", "It can't be stopped; what is ill waits until it is over.", judged.harmed)
    if case.accused is None:
        return Ruling("tell", "It is no rollout, so it can't be stopped; a person looks at it.")
    return _rule_on_rollout(case, case.accused)


def _rule_on_rollout(case: Case, accused: Accused) -> Ruling:
    if accused.kind == "rollback":
        return Ruling("tell", "It is a way back, and those are never stopped.")
    if accused.emergency:
        return Ruling("tell", "It took the emergency lane, so a person decides.")
    if accused.policy == "show":
        return Ruling("tell", "Its strategy lets a vote only be shown (`blame: show`).")
    if accused.state not in ROLLOUT_OVER:
        return Ruling(
            "stop" if case.fresh else "stopped", "It is stopped, and these tenants go back.", case.judged.harmed
        )
    recent = accused.ended_at is not None and case.now < accused.ended_at + RECOVERS
    if accused.outcome == BLAMED and recent:
        return Ruling("stopped", "It was stopped, and its tenants are given time to recover.", case.judged.harmed)
    return Ruling("tell", "It is over, so a person takes it back where needed.")


def evidence_of(judged: Judged, touches: Iterable[Touch], ill: Mapping[str, datetime]) -> tuple[Pair, ...]:
    """What a verdict rests on: each ill tenant with the last time before its illness that a blamed change reached it."""
    last: dict[str, datetime] = {}
    for touch in touches:
        known = last.get(touch.tenant)
        before = touch.tenant in ill and touch.at <= ill[touch.tenant]
        if touch.change in judged.blamed and before and (known is None or touch.at > known):
            last[touch.tenant] = touch.at
    return tuple(sorted((tenant, at.isoformat()) for tenant, at in last.items()))


def rests_on_something_new(evidence: Collection[Pair], earlier: Iterable[Collection[Pair]]) -> bool:
    """Whether a verdict rests on anything that no earlier act on the same change rested on."""
    known = {pair for pairs in earlier for pair in pairs}
    return any(pair not in known for pair in evidence)
