"""How one target moves on: its external work came back, or somebody looked at its health."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from controlplane.domain.decide_wave import judge_soak, progress_due_at
from controlplane.domain.disturbance import ANOTHER_BLAMED, ASKING
from controlplane.domain.draft import Draft
from controlplane.domain.engine import EffectDone, Explained, Looked, TargetNow, WaveNow
from controlplane.domain.health import Health, Judgement
from controlplane.domain.plans import Plan, PlannedWave
from controlplane.domain.quantities import format_duration
from controlplane.domain.rollouts import TARGET_FORWARD, TargetState

_SAMPLE_SPACING = timedelta(seconds=1)
_RESTORE = "Going back means restoring its database, which a person starts."
_NOWHERE = "It has no way back."
_BLAMELESS = frozenset({"quota", "gone"})


def plan_of(draft: Draft, target: TargetNow) -> PlannedWave:
    """The plan of a target's wave."""
    return draft.memory.plan.waves[target.wave]


def granted(target: TargetNow, *, epoch: int, revision: int, migrates: bool, prunes: bool, now: datetime) -> TargetNow:
    """A pending target that was admitted and got its places: preflight is behind it, its first work is issued."""
    state = TargetState.MIGRATE if migrates else TargetState.APPLY
    return replace(
        target,
        state=state,
        phase="migrate" if migrates else "apply",
        since=now,
        started_at=now,
        ended_at=None,
        epoch=epoch,
        revision=revision,
        prunes=prunes,
        code="",
        reason="",
        retry_at=None,
        waiting_since=None,
        waits_until=None,
        expected=(),
        judgement=None,
        excused_since=None,
        excused_at=None,
        lent=False,
    )


def granted_onward(target: TargetNow, *, epoch: int, now: datetime) -> TargetNow:
    """A target whose next work was issued: the apply after its migration, its prune, or its way back."""
    wants = target.wants
    if wants == "apply":
        return replace(
            target,
            state=TargetState.APPLY,
            phase="apply",
            wants="",
            since=now,
            epoch=epoch,
            retry_at=None,
            waiting_since=None,
        )
    if wants == "prune":
        return replace(target, phase="prune", wants="", epoch=epoch, retry_at=None, waiting_since=None)
    return replace(
        target,
        state=TargetState.ROLLING_BACK,
        phase="back",
        wants="",
        since=now,
        ended_at=None,
        epoch=epoch,
        retry_at=None,
        waiting_since=None,
        expected=(),
        judgement=None,
        progress=0,
        progressed_at=None,
        ill_since=None,
        excused_since=None,
        excused_at=None,
        lent=False,
    )


def take_effect(draft: Draft, change: EffectDone) -> int:
    """External work came back."""
    target = draft.target(change.tenant)
    if target.phase != change.phase:
        return target.wave
    idle = replace(target, phase="")
    if target.state in TARGET_FORWARD and draft.rollout.abort == "rollBack":
        fail(draft, idle, "aborted", "a person aborted the rollout", blame=False)
        return target.wave
    match change.phase, change.outcome:
        case "prune", _:
            draft.put(idle)
        case "migrate", "ok":
            draft.put(replace(idle, wants="apply"))
        case "apply", "ok":
            moved = draft.move(idle, TargetState.VERIFY, expected=change.expected, progress=0, progressed_at=None)
            draft.look_at(draft.now, moved.tenant)
            draft.look_at(progress_due_at(draft.now, plan_of(draft, moved).success), moved.tenant)
        case "back", "ok":
            moved = draft.put(replace(idle, expected=change.expected, progress=0, progressed_at=None))
            draft.look_at(draft.now, moved.tenant)
            draft.look_at(progress_due_at(draft.now, plan_of(draft, moved).success), moved.tenant)
        case "back", _:
            _strand(draft, idle, change.code, change.reason)
        case _:
            fail(draft, idle, change.code, change.reason, blame=change.outcome not in _BLAMELESS)
    return target.wave


def fail(draft: Draft, target: TargetNow, code: str, reason: str, *, blame: bool = True) -> None:
    """A target's way forward has failed; it goes back where there is a way, else it is stuck."""
    failed = draft.move(
        target, TargetState.FAILED, event="target-failed", code=code, reason=reason, failed=blame, ill_since=None
    )
    if failed.way_back == "reapply":
        draft.put(replace(failed, wants="back"))
    else:
        _strand(draft, failed, code, f"{reason}; {_why_not(draft, failed)}")


def _why_not(draft: Draft, target: TargetNow) -> str:
    """Why a target does not go back by itself, in the plan's words where the plan still holds."""
    if target.way_back == "restore":
        return _RESTORE
    return plan_of(draft, target).targets[target.position].way_back.reason or _NOWHERE


def cannot_go_on(draft: Draft, tenant: str, code: str, reason: str) -> int:
    """What Seawall itself has stored of a target can't be worked with: it stops where it is, a person must look."""
    target = draft.target(tenant)
    idle = replace(target, phase="", wants="", ill_since=None)
    if target.state is TargetState.PENDING:
        idle = draft.move(idle, TargetState.PREFLIGHT)
    if idle.state in TARGET_FORWARD:
        idle = draft.move(idle, TargetState.FAILED, event="target-failed", code=code, reason=reason, failed=False)
    if idle.state in (TargetState.FAILED, TargetState.ROLLING_BACK):
        _strand(draft, idle, code, reason)
    else:
        draft.put(replace(idle, code=code, reason=reason))
        draft.tell("way-back-refused", {"code": code, "reason": reason}, tenant=tenant)
    return target.wave


def want_back(draft: Draft, target: TargetNow, code: str, reason: str) -> None:
    """Mark a verified target for the way back, if it has one."""
    if target.way_back == "reapply":
        draft.put(replace(target, wants="back", code=code, reason=reason))


def _strand(draft: Draft, target: TargetNow, code: str, reason: str) -> None:
    draft.move(target, TargetState.STUCK, event="target-stuck", code=code, reason=reason, wants="", ill_since=None)


def take_look(draft: Draft, change: Looked) -> int:
    """Somebody looked at a target's workloads in the cache."""
    target = draft.target(change.tenant)
    if target.phase == "":
        match target.state:
            case TargetState.VERIFY:
                _look_verifying(draft, target, change)
            case TargetState.SOAK:
                _look_soaking(draft, target, change)
            case TargetState.ROLLING_BACK:
                _look_going_back(draft, target, change)
    return target.wave


def _late(draft: Draft, target: TargetNow, since: datetime) -> bool:
    return draft.now >= progress_due_at(since, plan_of(draft, target).success)


def _progressed_at(target: TargetNow) -> datetime:
    """When its pods last came further, or its apply ended."""
    return target.progressed_at or target.since


def _advanced(draft: Draft, target: TargetNow, look: Looked) -> TargetNow:
    """Note that pods came further than ever since the apply. Pods that come and go do not: a crash loop makes no progress."""
    if look.judgement.progress <= target.progress:
        return target
    draft.look_at(progress_due_at(draft.now, plan_of(draft, target).success), target.tenant)
    return draft.remember(replace(target, progress=look.judgement.progress, progressed_at=draft.now))


def may_be_blamed(plan: Plan, target: TargetNow, look: Looked, now: datetime) -> bool:
    """Whether what was seen would, or soon could, count against the target: then it is worth asking what surrounds it."""
    if not look.live or look.judgement.health is Health.HEALTHY or look.judgement.quota_blocked:
        return False
    if look.judgement.health is Health.UNHEALTHY or target.state is TargetState.SOAK:
        return True
    began = _progressed_at(target)
    due = progress_due_at(began, plan.waves[target.wave].success)
    return now >= due - (due - began) / 4


def can_wait(target: TargetNow, judgement: Judgement) -> bool:
    """Whether a look that says so would decide nothing: a target that is applied and still on its way. Its deadline rings by itself."""
    on_its_way = judgement.health is Health.PROGRESSING and not judgement.quota_blocked
    return on_its_way and target.state is TargetState.VERIFY


def _held(draft: Draft, target: TargetNow, look: Looked) -> bool:
    """Let a target wait that would fail now, because what made it ill is not the release's doing, or was not a moment ago.

    It counts as ill meanwhile, so nothing more is dispatched by its rollout. After the excuse has passed it has one progress
    deadline to recover; after the wave's `disturbanceLimit` it goes back, unblamed.
    """
    if look.excuse == ASKING:
        if target.ill_since is None:
            draft.put(replace(target, ill_since=draft.now, judgement=look.judgement))
        draft.look_at(draft.now + _SAMPLE_SPACING, target.tenant)
        return True
    success = plan_of(draft, target).success
    excuse = look.excuse
    recovering = target.excused_at is not None and draft.now < progress_due_at(target.excused_at, success)
    if excuse is None and not recovering:
        return False
    since = target.excused_since or draft.now
    if draft.now >= since + success.disturbance_limit:
        _give_up_waiting(draft, target, look)
        return True
    at = draft.now if excuse else target.excused_at
    waiting = replace(
        target,
        excused_since=since,
        excused_at=at,
        ill_since=target.ill_since or draft.now,
        judgement=look.judgement,
    )
    if target.state is not TargetState.ROLLING_BACK:  # why it goes back stays its reason
        waiting = replace(waiting, code="disturbed", reason=excuse.reason if excuse else target.reason)
        # Nothing of it is in the cluster's hands here, so the guilty one may use the slot to go back.
        waiting = replace(waiting, lent=target.lent or (excuse is not None and excuse.code == ANOTHER_BLAMED))
    same = _noted(target) == _noted(waiting)
    if same:
        draft.remember(waiting)
    else:
        draft.put(waiting)
    if target.excused_since is None and excuse is not None:
        draft.tell("target-disturbed", {"code": excuse.code, "reason": excuse.reason}, tenant=target.tenant)
    draft.look_at(draft.now + _SAMPLE_SPACING, target.tenant)
    return True


def _noted(target: TargetNow) -> tuple[object, ...]:
    """What of a held target is written when it changes."""
    return target.code, target.reason, target.ill_since, target.lent


def _give_up_waiting(draft: Draft, target: TargetNow, look: Looked) -> None:
    span = format_duration(plan_of(draft, target).success.disturbance_limit)
    reason = f"{look.excuse.reason if look.excuse else target.reason}; it lasted longer than {span}"
    if target.state is TargetState.ROLLING_BACK:
        _strand(draft, target, "disturbed", reason)
    else:
        fail(draft, target, "disturbed", reason, blame=False)


def _recovered(draft: Draft, target: TargetNow) -> TargetNow:
    """A target that is well again after a disturbance: as if it had never been."""
    if target.excused_since is None and target.ill_since is None:
        return target
    well = replace(target, excused_since=None, excused_at=None, ill_since=None)
    return draft.put(replace(well, code="", reason="") if target.code == "disturbed" else well)


def _look_verifying(draft: Draft, target: TargetNow, look: Looked) -> None:
    if not look.live:
        draft.look_at(draft.now + _SAMPLE_SPACING, target.tenant)
        return
    judgement = look.judgement
    target = _advanced(draft, target, look)
    if judgement.health is Health.HEALTHY:
        target = _recovered(draft, target)
        soaking = draft.move(
            target, TargetState.SOAK, judgement=judgement, soak_since=draft.now, samples=1, sampled_at=draft.now
        )
        if soaking.yields_to:
            yield_to(draft, soaking, soaking.yields_to)
        else:
            _finish_soak(draft, soaking)
    elif judgement.quota_blocked:
        fail(draft, target, "quota", f"{judgement.reason}: the namespace's quota is full", blame=False)
    elif judgement.health is Health.UNHEALTHY or _late(draft, target, _progressed_at(target)):
        if not _held(draft, target, look):
            fail(
                draft, target, "unhealthy" if judgement.health is Health.UNHEALTHY else "no-progress", judgement.reason
            )
    elif judgement != target.judgement:
        draft.remember(replace(target, judgement=judgement))


def _look_soaking(draft: Draft, target: TargetNow, look: Looked) -> None:
    """A healthy look counts as a sample when it is spaced from the last; ill health starts the soak again, or ends it."""
    if not look.live:
        draft.look_at(draft.now + _SAMPLE_SPACING, target.tenant)
        return
    if look.judgement.health is Health.HEALTHY:
        if target.ill_since is not None:
            target = _recovered(draft, target)
            target = draft.put(replace(target, ill_since=None, soak_since=draft.now, samples=0, sampled_at=None))
        if target.sampled_at is None or draft.now >= target.sampled_at + _spacing(draft, target):
            target = replace(target, samples=target.samples + 1, sampled_at=draft.now)
        _finish_soak(draft, draft.remember(replace(target, judgement=look.judgement)))
        return
    ill_since = target.ill_since or draft.now
    if _held(draft, target, look):
        return
    if look.judgement.health is Health.UNHEALTHY or _late(draft, target, ill_since):
        fail(draft, target, "unhealthy", look.judgement.reason)
    else:
        ill = draft.put(replace(target, ill_since=ill_since, judgement=look.judgement))
        draft.look_at(progress_due_at(ill_since, plan_of(draft, ill).success), ill.tenant)


def _spacing(draft: Draft, target: TargetNow) -> timedelta:
    soak = plan_of(draft, target).soak
    return min(_SAMPLE_SPACING, soak.for_ / soak.samples) if soak.for_ else _SAMPLE_SPACING


def _finish_soak(draft: Draft, target: TargetNow) -> None:
    soak = plan_of(draft, target).soak
    state = judge_soak(soak, since=target.soak_since or draft.now, samples=target.samples, now=draft.now)
    if not state.done:
        after = _spacing(draft, target) if state.samples_left else state.time_left
        draft.look_at(draft.now + after, target.tenant)
        return
    verified = draft.move(target, TargetState.VERIFIED, event="target-verified")
    if _goes_back_anyway(draft, draft.wave(verified.wave)):
        want_back(draft, verified, "policy", "its wave failed while it was on its way")
    elif verified.prunes:
        draft.put(replace(verified, wants="prune"))


def _goes_back_anyway(draft: Draft, wave: WaveNow) -> bool:
    """Whether the failure policy already sent this target's wave, or the whole rollout, back."""
    if wave.code == "gate-failed" and not blames_tenants(draft, wave):
        return True
    policy = draft.memory.plan.on_failure.roll_back
    if policy == "wave":
        return wave.state == "failed"
    return policy == "rollout" and any(one.state == "failed" for one in draft.waves())


def blames_tenants(draft: Draft, wave: WaveNow) -> bool:
    """Whether a gate of the wave named those to blame; then only they go back, else the whole wave does."""
    return any(draft.target(tenant).code == "gate-failed" for tenant in wave.order)


def _look_going_back(draft: Draft, target: TargetNow, look: Looked) -> None:
    if not look.live:
        draft.look_at(draft.now + _SAMPLE_SPACING, target.tenant)
        return
    target = _advanced(draft, target, look)
    if look.judgement.health is Health.HEALTHY:
        target = _recovered(draft, target)
        draft.move(target, TargetState.ROLLED_BACK, event="target-rolled-back")
    elif look.judgement.health is Health.UNHEALTHY or _late(draft, target, _progressed_at(target)):
        if _held(draft, target, look):
            return
        _strand(draft, target, "way-back-failed", f"{target.reason}; on the way back: {look.judgement.reason}")


def take_explanation(draft: Draft, change: Explained) -> None:
    """Put the cluster's own words to a failure."""
    target = draft.target(change.tenant)
    if (
        target.state in (TargetState.FAILED, TargetState.ROLLING_BACK, TargetState.ROLLED_BACK, TargetState.STUCK)
        and change.reason
    ):
        draft.put(replace(target, reason=change.reason))


def yield_to(draft: Draft, target: TargetNow, emergency: str) -> int | None:
    """Give the environment up to an emergency's rollout, at `pending` and `soak` only; returns the wave, if it is touched.

    From backup to verify the target goes on, and yields when it comes to soak. On its way back it never yields.
    """
    if target.state is TargetState.PENDING or (
        target.state is TargetState.SOAK and not _goes_back_anyway(draft, draft.wave(target.wave))
    ):
        reason = f"an emergency went before it (rollout {emergency})"
        draft.move(
            replace(target, yields_to="", ill_since=None),
            TargetState.SKIPPED,
            event="target-skipped",
            code="preempted",
            reason=reason,
        )
        return target.wave
    if target.state in TARGET_FORWARD:
        draft.put(replace(target, yields_to=emergency))
    return None


def cancel_pending(draft: Draft, wave: WaveNow, code: str, reason: str) -> None:
    """Cancel what has not started in a wave."""
    for tenant in wave.order[wave.cursor :]:
        target = draft.target(tenant)
        if target.state is TargetState.PENDING:
            draft.move(target, TargetState.CANCELLED, code=code, reason=reason)


def abort_forward(draft: Draft, wave: WaveNow) -> None:
    """Send back what is on its way forward in a wave; work already in the cluster's hands goes back when it returns."""
    for tenant in wave.order:
        target = draft.target(tenant)
        if target.state in TARGET_FORWARD and target.phase == "":
            fail(draft, target, "aborted", "a person aborted the rollout", blame=False)
