"""What windows do to a rollout: who waits for one and takes no place meanwhile, who has waited too long, who catches up.

Owners' deferrals end the same way: when their time is over.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from controlplane.domain.draft import Draft
from controlplane.domain.engine import TargetNow, WaveNow
from controlplane.domain.plans import Note, Plan
from controlplane.domain.rollouts import TargetState, WaveState
from controlplane.domain.windows import Attached, Opening, WaveNeeds, closed_at, written

CODE = "window"
_BEGUN = (WaveState.RUNNING, WaveState.JUDGING, WaveState.DONE)
_EVER = timedelta(days=365 * 100)


def obeys_windows(plan: Plan) -> bool:
    """Ways back never ask a window, nor does an emergency whose criterion lets it leave windows out."""
    return plan.kind != "rollback" and not (plan.emergency is not None and plan.emergency.skips_windows)


def needs_of_waves(plan: Plan, attached: Attached) -> list[WaveNeeds]:
    """What each wave of a plan needs of its tenants' windows."""
    finish = plan.windows.finish
    return [
        WaveNeeds(
            groups=frozenset(attached.of.get(target.tenant) for target in wave.targets),
            target=timedelta(0) if finish == "ignore" else wave.takes,
            wave=wave.lasts if finish == "wave" else None,
        )
        for wave in plan.waves
    ]


def window_notes(plan: Plan, attached: Attached) -> list[Note]:
    """Say of waves that no window within the horizon is long enough for: they would never begin."""
    if not attached.groups or not obeys_windows(plan):
        return []
    needs = needs_of_waves(plan, attached)
    short = closed_at(attached, needs, plan.made_at).waves
    return [
        Note(
            code="window-too-short",
            detail=f"No window is open for the {written(plan.waves[index].lasts)} that wave {plan.waves[index].name} may take. "
            "Cut smaller waves, raise the limits, or set windows.finish to target or ignore.",
        )
        for index, kept in short.items()
        if kept.until is None
    ]


def kept_out(draft: Draft, target: TargetNow) -> bool:
    """Whether a pending target's window is closed; writes why and since when, once for each reason."""
    kept = draft.memory.closed.keeps(target.tenant, target.wave)
    if kept is None:
        return False
    news = (target.code, target.reason) != (CODE, kept.reason)
    if news:
        since = target.waiting_since if target.code == CODE and target.waiting_since else draft.now
        target = draft.put(
            replace(target, code=CODE, reason=kept.reason, waiting_since=since, waits_until=kept.until, retry_at=None)
        )
    if draft.memory.plan.windows.then == "defer" and (news or draft.memory.scanned is None):
        draft.look_at(_patience_ends(draft, target.waiting_since), target.tenant)
    return True


def _patience_ends(draft: Draft, since: datetime | None) -> datetime:
    return (since or draft.now) + min(draft.memory.plan.windows.wait, _EVER)


def take_time_up(draft: Draft, tenant: str) -> int:
    """A straggler whose window stayed closed for longer than its wave waits goes onto the catch-up list."""
    target = draft.target(tenant)
    if target.state is TargetState.DEFERRED:
        draft.caught_up = None  # its deferral may be over: go over the list
    if target.state is not TargetState.PENDING or target.code != CODE or target.waiting_since is None:
        return target.wave
    kept = draft.memory.closed.keeps(tenant, target.wave)
    late = draft.now >= _patience_ends(draft, target.waiting_since)
    if kept is not None and late and draft.memory.plan.windows.then == "defer":
        draft.move(target, TargetState.DEFERRED, event="target-deferred", code=CODE, reason=kept.reason)
    return target.wave


def may_begin(draft: Draft, wave: WaveNow) -> bool:
    """Whether windows let a wave begin: one of its targets may start, and the wave should be done before a window closes.

    One that has waited for too long leaves its targets to the catch-up list; it then ends unproven, for a person to decide.
    """
    kept = draft.memory.closed.waves.get(wave.index)
    if kept is None or not wave.pending:
        return True
    since = wave.waiting_since or draft.now
    if (wave.code, wave.reason) != (CODE, kept.reason):
        wave = draft.note_wave(wave, code=CODE, reason=kept.reason, waiting_since=since, waits_until=kept.until)
    if draft.memory.plan.windows.then == "hold":
        return False
    if draft.now < _patience_ends(draft, since):
        draft.look_at(_patience_ends(draft, since), wave.order[0])
        return False
    _defer_all(draft, wave, kept)
    return True


def _defer_all(draft: Draft, wave: WaveNow, kept: Opening) -> None:
    for tenant in wave.order[wave.cursor :]:
        target = draft.target(tenant)
        if target.state is TargetState.PENDING:
            until = kept.until
            draft.move(
                target, TargetState.DEFERRED, event="target-deferred", code=CODE, reason=kept.reason, waits_until=until
            )


def catch_up(draft: Draft) -> None:
    """Whoever was deferred for a while that is over takes its turn again; a wave that has passed opens again for it."""
    closed = draft.memory.closed
    if closed is draft.caught_up:
        return
    draft.caught_up = closed
    for tenant in tuple(draft.memory.catch_up):
        target = draft.target(tenant)
        wave = draft.wave(target.wave)
        later = target.code != CODE and (target.waits_until is None or target.waits_until > draft.now)
        if (
            later
            or target.state is not TargetState.DEFERRED
            or wave.state not in _BEGUN
            or closed.keeps(tenant, target.wave)
        ):
            continue
        draft.move(
            target,
            TargetState.PENDING,
            event="target-caught-up",
            code="",
            reason="",
            waiting_since=None,
            waits_until=None,
        )
        if wave.state is not WaveState.RUNNING:
            draft.move_wave(draft.wave(wave.index), WaveState.RUNNING, code="", reason="", cursor=0)
