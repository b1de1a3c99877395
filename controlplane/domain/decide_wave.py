"""Judging a wave and a soak: pure questions the engine asks with its tallies and the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from controlplane.domain.plans import ResolvedSuccess
from controlplane.domain.quantities import parse_percent, share_of
from controlplane.domain.strategies import Soak


@dataclass(frozen=True, slots=True)
class WaveTally:
    """How many of a wave's targets are where.

    `failed`: every target whose change failed, whatever became of it since (rolling back, rolled back, stuck).
    `left`: skipped, cancelled or deferred without a failure. `moving`: between preflight and soak.
    """

    size: int
    pending: int = 0
    moving: int = 0
    verified: int = 0
    failed: int = 0
    left: int = 0

    def __post_init__(self) -> None:
        if self.pending + self.moving + self.verified + self.failed + self.left != self.size:
            raise ValueError(f"a wave's targets must add up to its size: {self}")


WaveOutcome = Literal["running", "succeeded", "failed", "unproven"]
"""`unproven`: every target left without a verdict (all deferred, say). No fault of the release, yet the next wave must
not start: a person decides."""


@dataclass(frozen=True, slots=True)
class WaveVerdict:
    """Where a wave stands, with a stable code and a sentence for a person."""

    outcome: WaveOutcome
    code: str
    reason: str


def needed(success: ResolvedSuccess, size: int, left: int) -> int:
    """Give the verified targets a wave needs now that `left` of its `size` targets left it without a verdict.

    A percent is taken again of those that stayed (else one deferred tenant would fail a wave); a number stays, as far
    as enough targets stayed. Never less than 1: a wave in which nothing was verified has proven nothing.
    """
    stayed = size - left
    wanted = share_of(parse_percent(success.min_percent), stayed) if success.min_percent else success.min
    return max(1, min(wanted, stayed))


def judge_wave(tally: WaveTally, success: ResolvedSuccess) -> WaveVerdict:
    """Say whether a wave runs, has succeeded, has failed, or ended without proof.

    Failed at once when more targets failed than it bears, or when those still going can't reach the minimum any
    more. Succeeded when none is going any more and the minimum is reached.
    """
    if tally.left == tally.size:
        return WaveVerdict("unproven", "nothing-verified", f"all {tally.size} targets left the wave before a verdict")
    wanted = needed(success, tally.size, tally.left)
    if tally.failed > success.max_failures:
        reason = f"{tally.failed} of {tally.size} targets failed, the limit is {success.max_failures}"
        return WaveVerdict("failed", "too-many-failures", reason)
    going = tally.pending + tally.moving
    if tally.verified + going < wanted:
        reason = f"{tally.verified} of {tally.size} targets verified and {going} still going, the wave needs {wanted}"
        return WaveVerdict("failed", "too-few-verified", reason)
    if going:
        return WaveVerdict("running", "running", f"{tally.verified} of {tally.size} verified, {going} still going")
    return WaveVerdict("succeeded", "succeeded", f"{tally.verified} of {tally.size} verified, the wave needed {wanted}")


@dataclass(frozen=True, slots=True)
class SoakState:
    """What a soak still lacks. `due_at`: when the time is up; more samples may be missing then."""

    done: bool
    time_left: timedelta
    samples_left: int
    due_at: datetime


def judge_soak(soak: Soak, *, since: datetime, samples: int, now: datetime) -> SoakState:
    """Say whether a soak is over: its time has passed since `since` and enough healthy samples came. Both.

    The caller counts only samples read while the watch was proven live, and starts again (`since`, `samples`) when
    the target was ill; so a clock that jumps ahead ends no soak by itself.
    """
    due_at = since + soak.for_
    time_left = max(due_at - now, timedelta(0))
    samples_left = max(soak.samples - samples, 0)
    return SoakState(not time_left and not samples_left, time_left, samples_left, due_at)


def progress_due_at(last_progress: datetime, success: ResolvedSuccess) -> datetime:
    """Say when a target that shows no further progress has failed (as a Deployment's progressDeadlineSeconds)."""
    return last_progress + success.progress_deadline
