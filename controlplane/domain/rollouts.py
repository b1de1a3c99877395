"""States of rollouts, waves and targets: one transition table each, and the one function that checks a change of state.

The tables are the truth: the docs' diagrams are drawn from them, and the database refuses states they don't name.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class RolloutState(StrEnum):
    """Where a rollout stands."""

    DRAFT = "draft"
    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    ROLLING_BACK = "rollingBack"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"


class WaveState(StrEnum):
    """Where a wave stands."""

    PENDING = "pending"
    GATING = "gating"
    RUNNING = "running"
    SOAKING = "soaking"
    JUDGING = "judging"
    DONE = "done"
    FAILED = "failed"


class TargetState(StrEnum):
    """Where a target stands."""

    PENDING = "pending"
    PREFLIGHT = "preflight"
    BACKUP = "backup"
    MIGRATE = "migrate"
    APPLY = "apply"
    VERIFY = "verify"
    SOAK = "soak"
    VERIFIED = "verified"
    FAILED = "failed"
    ROLLING_BACK = "rollingBack"
    ROLLED_BACK = "rolledBack"
    STUCK = "stuck"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    DEFERRED = "deferred"


_R, _W, _T = RolloutState, WaveState, TargetState

ROLLOUT_TRANSITIONS: Mapping[RolloutState, frozenset[RolloutState]] = {
    _R.DRAFT: frozenset({_R.PLANNED, _R.ABORTED}),
    _R.PLANNED: frozenset({_R.RUNNING, _R.ABORTED}),
    _R.RUNNING: frozenset({_R.PAUSED, _R.ROLLING_BACK, _R.SUCCEEDED, _R.FAILED, _R.ABORTED}),
    _R.PAUSED: frozenset({_R.RUNNING, _R.ROLLING_BACK, _R.FAILED, _R.ABORTED}),
    _R.ROLLING_BACK: frozenset({_R.FAILED, _R.ABORTED}),
    _R.SUCCEEDED: frozenset(),
    _R.FAILED: frozenset(),
    _R.ABORTED: frozenset(),
}

WAVE_TRANSITIONS: Mapping[WaveState, frozenset[WaveState]] = {
    _W.PENDING: frozenset({_W.GATING, _W.RUNNING, _W.FAILED}),
    _W.GATING: frozenset({_W.RUNNING, _W.FAILED}),
    _W.RUNNING: frozenset({_W.SOAKING, _W.JUDGING, _W.FAILED}),
    _W.SOAKING: frozenset({_W.RUNNING, _W.JUDGING, _W.FAILED}),
    _W.JUDGING: frozenset({_W.RUNNING, _W.DONE, _W.FAILED}),
    # A person's retry opens a wave again: one that failed, or one that passed without some of its targets.
    _W.DONE: frozenset({_W.RUNNING}),
    _W.FAILED: frozenset({_W.GATING, _W.RUNNING}),
}

_FORWARD = (_T.PREFLIGHT, _T.BACKUP, _T.MIGRATE, _T.APPLY, _T.VERIFY, _T.SOAK)

TARGET_TRANSITIONS: Mapping[TargetState, frozenset[TargetState]] = {
    _T.PENDING: frozenset({_T.PREFLIGHT, _T.SKIPPED, _T.CANCELLED, _T.DEFERRED}),
    _T.PREFLIGHT: frozenset(
        {_T.BACKUP, _T.MIGRATE, _T.APPLY, _T.PENDING, _T.DEFERRED, _T.SKIPPED, _T.CANCELLED, _T.FAILED}
    ),
    _T.BACKUP: frozenset({_T.MIGRATE, _T.APPLY, _T.FAILED}),
    _T.MIGRATE: frozenset({_T.APPLY, _T.FAILED}),
    _T.APPLY: frozenset({_T.VERIFY, _T.FAILED}),
    _T.VERIFY: frozenset({_T.SOAK, _T.FAILED}),
    # A soaking target yields its environment to an emergency: healthy so far, without a verdict.
    _T.SOAK: frozenset({_T.VERIFIED, _T.FAILED, _T.SKIPPED}),
    # A verified target goes back when its wave or the whole rollout does.
    _T.VERIFIED: frozenset({_T.ROLLING_BACK}),
    _T.FAILED: frozenset({_T.ROLLING_BACK, _T.STUCK}),
    _T.ROLLING_BACK: frozenset({_T.ROLLED_BACK, _T.STUCK}),
    # A person's retry starts a new attempt.
    _T.ROLLED_BACK: frozenset({_T.PENDING}),
    _T.STUCK: frozenset({_T.PENDING, _T.ROLLING_BACK}),
    _T.SKIPPED: frozenset({_T.PENDING}),
    _T.CANCELLED: frozenset({_T.PENDING}),
    _T.DEFERRED: frozenset({_T.PENDING, _T.SKIPPED, _T.CANCELLED}),
}

ROLLOUT_OVER = frozenset(state for state, after in ROLLOUT_TRANSITIONS.items() if not after)
TARGET_FORWARD = frozenset(_FORWARD)
TARGET_IN_FLIGHT = TARGET_FORWARD | {_T.FAILED, _T.ROLLING_BACK}
TARGET_SETTLED = frozenset({_T.VERIFIED, _T.ROLLED_BACK, _T.STUCK, _T.SKIPPED, _T.CANCELLED, _T.DEFERRED})
TARGET_RETRYABLE = frozenset({_T.ROLLED_BACK, _T.STUCK, _T.SKIPPED, _T.CANCELLED, _T.DEFERRED})


class TransitionError(ValueError):
    """A change of state that the table does not hold: a bug, never a caller's mistake."""


def check_transition[S: StrEnum](table: Mapping[S, frozenset[S]], old: S, new: S) -> S:
    """Return `new` if the table allows it after `old`; the one door through which every state passes."""
    if new not in table[old]:
        raise TransitionError(f"{type(old).__name__}: {old} -> {new} is not in the table")
    return new
