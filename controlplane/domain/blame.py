"""Which change broke the tenants, when several overlapped: a vote by time and tenants. Pure.

The idea is Gandalf's (Li et al., "Gandalf: An Intelligent, End-To-End Analytics Service for Safe Deployment in Large-Scale Cloud
Infrastructure", NSDI 2020; its abstract: fault signals are correlated with all ongoing rollouts in space and time, a ranking says which
caused them, and the result says whether that one is stopped). Failures after a change vote for it, failures before it against it, over
windows of 1, 24 and 72 hours. Of each window, `ln((P - B + 1) / (B + 1))` where P > B, else 0; P (B) counts tenants that fell ill after
(before) the change touched them, each `exp(-distance / window)`. The windows and the logarithm follow notes on that paper and were not
checked against its text again: take the formula as ours. The score is the mean over windows, times the share of the ill tenants that
the change explains, times the share of the change's tenants that fell ill. The two shares and the verdict are our own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import exp, log
from typing import Final, Literal

from pydantic import Field

from controlplane.domain.wire import Wire

type Verdict = Literal["nobody", "unclear", "tied", "blamed"]

WINDOWS: Final = (timedelta(hours=1), timedelta(hours=24), timedelta(hours=72))
LEAST_TENANTS: Final = 2
"""One ill tenant may be ill for a reason of its own: nobody is blamed on it."""
TIED_FROM: Final = 0.8
"""A change with so much of the highest score is as likely to be guilty."""
MOST_VOTES: Final = 20


@dataclass(frozen=True, slots=True)
class Touch:
    """A change reached a tenant. `change` names it (`rollout/<id>`, `cluster/aks-1@4`), `what` says it to people."""

    change: str
    what: str
    tenant: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Signal:
    """A tenant fell ill."""

    tenant: str
    at: datetime


class WindowVote(Wire):
    """What one window says of one change."""

    hours: int
    after: float = Field(description="Tenants that fell ill after it reached them, each weighed by how soon.")
    before: float = Field(description="Tenants that were ill before, weighed the same.")
    vote: float = Field(description="ln((after - before + 1) / (before + 1)), or 0 unless after is larger.")


class Vote(Wire):
    """What speaks for and against one change."""

    change: str
    what: str
    tenants: int = Field(description="Tenants it reached.")
    ill: int = Field(description="Of these, those that fell ill within 72 hours after it reached them.")
    explains: float = Field(description="Share of the ill tenants in question that fell ill after it reached them.")
    windows: tuple[WindowVote, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with its votes, highest first. `blamed`: one change, or those that are tied; `what` says the one to people.

    `harmed`: of the tenants in question, those that fell ill after the one that is blamed reached them.
    """

    verdict: Verdict
    reason: str
    blamed: tuple[str, ...]
    ill: int
    votes: tuple[Vote, ...]
    harmed: frozenset[str] = frozenset()
    what: str = ""


def judge(touches: Iterable[Touch], signals: Iterable[Signal], tenants: Collection[str]) -> Judged:
    """Say which change made these tenants ill. Changes and signals of other tenants count for what each change does elsewhere."""
    reached = _first_touches(touches)
    ill_at: defaultdict[str, list[datetime]] = defaultdict(list)
    for signal in signals:
        ill_at[signal.tenant].append(signal.at)
    asked = {tenant for tenant in tenants if ill_at.get(tenant)}
    if not asked:
        return Judged("nobody", "None of its tenants fell ill.", (), 0, ())
    found = [_vote(change, what, at, ill_at, asked) for (change, what), at in reached.items() if asked & at.keys()]
    votes = sorted(found, key=lambda v: (-v.score, v.change))[:MOST_VOTES]
    judged = _verdict(votes, len(asked))
    if judged.verdict != "blamed":
        return judged
    at = reached[judged.blamed[0], votes[0].what]
    harmed = frozenset(t for t in asked & at.keys() if _first_after(ill_at[t], at[t]) is not None)
    return replace(judged, harmed=harmed, what=votes[0].what)


def _first_after(ill: Iterable[datetime], at: datetime) -> timedelta | None:
    """How soon after a change a tenant fell ill, if it did within the longest window."""
    soonest = min((moment - at for moment in ill if moment >= at), default=None)
    return soonest if soonest is not None and soonest <= WINDOWS[-1] else None


def _first_touches(touches: Iterable[Touch]) -> dict[tuple[str, str], dict[str, datetime]]:
    reached: defaultdict[tuple[str, str], dict[str, datetime]] = defaultdict(dict)
    for touch in touches:
        at = reached[touch.change, touch.what]
        at[touch.tenant] = min(touch.at, at.get(touch.tenant, touch.at))
    return dict(reached)


def _vote(
    change: str,
    what: str,
    reached: Mapping[str, datetime],
    ill_at: Mapping[str, Sequence[datetime]],
    asked: Collection[str],
) -> Vote:
    after: dict[str, timedelta] = {}
    before: dict[str, timedelta] = {}
    for tenant, at in reached.items():
        soonest = _first_after(ill_at.get(tenant, ()), at)
        earlier = [at - ill for ill in ill_at.get(tenant, ()) if ill < at]
        if soonest is not None:
            after[tenant] = soonest
        if earlier:
            before[tenant] = min(earlier)
    windows = tuple(_window(window, after.values(), before.values()) for window in WINDOWS)
    explains, harms = len(after.keys() & set(asked)) / len(asked), len(after) / len(reached)
    score = sum(w.vote for w in windows) / len(windows) * explains * harms
    return Vote(
        change=change,
        what=what,
        tenants=len(reached),
        ill=len(after),
        explains=round(explains, 4),
        windows=windows,
        score=round(score, 4),
    )


def _window(window: timedelta, after: Iterable[timedelta], before: Iterable[timedelta]) -> WindowVote:
    for_it, against = (sum(exp(-(d / window)) for d in part if d <= window) for part in (after, before))
    vote = log((for_it - against + 1) / (against + 1)) if for_it > against else 0.0
    return WindowVote(
        hours=round(window / timedelta(hours=1)),
        after=round(for_it, 4),
        before=round(against, 4),
        vote=round(max(0.0, vote), 4),
    )


def _verdict(votes: Sequence[Vote], ill: int) -> Judged:
    made = tuple(votes)
    best = made[0] if made else None
    if best is None or best.score <= 0:
        return Judged(
            "nobody", f"{ill} of its tenants fell ill, and after no change more than before it.", (), ill, made
        )
    if best.ill < LEAST_TENANTS:
        reason = f"{best.what} has the highest vote, on one tenant: too little to blame it. A person should look."
        return Judged("unclear", reason, (), ill, made)
    tied = [v for v in made if v.score >= TIED_FROM * best.score]
    if len(tied) > 1:
        names = " and ".join(v.what for v in tied)
        reason = f"{names} are as likely to be the cause. Hold them, and let a person find out."
        return Judged("tied", reason, tuple(v.change for v in tied), ill, made)
    reason = f"{best.what}: {best.ill} of the {best.tenants} tenants it reached fell ill after it."
    return Judged("blamed", reason, (best.change,), ill, made)
