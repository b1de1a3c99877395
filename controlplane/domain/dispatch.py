"""Who of those that want to start does: asked inside the dispatch transaction, under the rows' locks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from controlplane.domain.admission import ClusterFacts, EnvironmentRow, Refusal, admit, refused
from controlplane.domain.decide_wave import progress_due_at
from controlplane.domain.draft import Draft
from controlplane.domain.engine import TargetNow
from controlplane.domain.exposure import (
    FLEET_IN_FLIGHT,
    Amount,
    Budget,
    Candidate,
    grant,
    reservations_for,
    rollback_reservations_for,
    rollout_scope,
)
from controlplane.domain.exposure import Refusal as NoPlace
from controlplane.domain.progress import granted, granted_onward
from controlplane.domain.returns import way_back_after
from controlplane.domain.rollouts import TARGET_TRANSITIONS, TargetState, check_transition

BUDGET_WAIT = timedelta(milliseconds=250)
_NO_PLACE = {"closed": "frozen", "tripped": "breaker", "full": "budget"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the driver prepared for one candidate: whether its release migrates, and whether something is pruned later."""

    migrates: bool = False
    prunes: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """A candidate that starts: its new epoch, and what it took."""

    target: TargetNow
    epoch: int
    takes: Mapping[str, Amount]


def needs_of(draft: Draft, tenant: str) -> dict[str, Amount]:
    """What a candidate must reserve, in lock order: places to go forward, the rollback budget to go back."""
    target = draft.target(tenant)
    if target.state is TargetState.PENDING:
        return reservations_for(target, draft.memory.id, draft.memory.plan.limits)
    return rollback_reservations_for(target) if target.wants == "back" else {}


def screen(
    draft: Draft, rows: Mapping[str, EnvironmentRow], clusters: Mapping[str, ClusterFacts]
) -> tuple[list[str], list[str]]:
    """Admit or refuse each candidate by its environment; returns those left (onward, forward)."""
    left: tuple[list[str], list[str]] = ([], [])
    for tenants, kept in zip((draft.onward, draft.forward), left, strict=True):
        for tenant in tenants:
            target = draft.target(tenant)
            refusal = admit(target, rows.get(tenant), clusters[tenant], draft.memory.id, draft.now)
            if refusal is None:
                kept.append(tenant)
            else:
                _refuse(draft, target, refusal, rows.get(tenant))
    return left


def start(
    draft: Draft,
    candidates: list[str],
    asked: Mapping[str, Asked],
    rows: Mapping[str, EnvironmentRow],
    budgets: Mapping[str, Budget],
    timeline: int,
) -> tuple[list[Started], tuple[NoPlace[str], ...]]:
    """Grant places in order and move who got one; gives who starts, and who found no place in which scope.

    `timeline` is PostgreSQL's: epochs of a later one are always higher.
    """
    needs = [Candidate(tenant, needs_of(draft, tenant)) for tenant in candidates]
    shared = {FLEET_IN_FLIGHT, rollout_scope(draft.memory.id)}
    grants = grant(needs, budgets, shared=shared & set(budgets))
    takes = {candidate.key: candidate.needs for candidate in needs}
    started = []
    for tenant in grants.granted:
        epoch = max(rows[tenant].epoch + 1, timeline << 40)
        started.append(Started(_start(draft, tenant, asked[tenant], rows[tenant], epoch), epoch, takes[tenant]))
    for refusal in grants.refused:
        target = draft.target(refusal.key)
        if refusal.why == "never":
            _refuse(draft, target, _too_large(refusal.scope, takes[refusal.key], budgets), rows[refusal.key])
            continue
        waits = Refusal("wait", _NO_PLACE[refusal.why], f"no place left in {refusal.scope}")
        draft.remember(replace(_wait(draft, target, waits), retry_at=draft.now + BUDGET_WAIT))
        draft.look_at(draft.now + BUDGET_WAIT, target.tenant)
    return started, grants.refused


def let_through(started: Sequence[Started], budgets: Mapping[str, Budget]) -> dict[str, list[str]]:
    """Who was let through half-open breakers, with their budgets: at most one for each."""
    found = {one.target.tenant: [s for s in one.takes if budgets[s].breaker == "halfOpen"] for one in started}
    return {tenant: scopes for tenant, scopes in found.items() if scopes}


def _too_large(scope: str, needs: Mapping[str, Amount], budgets: Mapping[str, Budget]) -> Refusal:
    """Waiting would not help: out of the wave, with what a person can do."""
    reason = (
        f"it alone takes {needs[scope]} of {scope}, whose cap is {budgets[scope].cap}; raise the cap, then retry it"
    )
    return Refusal("defer", "exceeds-limit", reason)


def _start(draft: Draft, tenant: str, asked: Asked, row: EnvironmentRow, epoch: int) -> TargetNow:
    target = draft.target(tenant)
    if target.state is not TargetState.PENDING:
        moved = granted_onward(target, epoch=epoch, now=draft.now)
        if moved.state is not target.state:
            check_transition(TARGET_TRANSITIONS, target.state, moved.state)
        if moved.phase == "back":
            draft.tell("target-rolling-back", {"code": moved.code, "reason": moved.reason}, tenant=tenant)
        return draft.put(moved)
    moved = granted(
        target, epoch=epoch, revision=row.last_number + 1, migrates=asked.migrates, prunes=asked.prunes, now=draft.now
    )
    check_transition(TARGET_TRANSITIONS, target.state, TargetState.PREFLIGHT)
    check_transition(TARGET_TRANSITIONS, TargetState.PREFLIGHT, moved.state)
    draft.tell("target-started", {"revision": moved.revision, "attempt": moved.attempt}, tenant=tenant)
    return draft.put(moved)


def _refuse(draft: Draft, target: TargetNow, refusal: Refusal, row: EnvironmentRow | None) -> None:
    code, reason = refusal.code, refusal.reason
    if refusal.how == "rebase" and row is not None:
        memory = draft.memory
        rollback = memory.plan.kind == "rollback"
        way_back = way_back_after(target.way_back, target.back_to, row.verified, memory.database, rollback=rollback)
        draft.put(replace(target, base_revision=row.current, back_to=row.verified, way_back=way_back))
        draft.look_at(draft.now, target.tenant)
        return
    if refusal.how == "wait" and not _waited_too_long(draft, target, refusal):
        waiting = _wait(draft, target, refusal)
        draft.look_at(waiting.retry_at or draft.now, target.tenant)
        return
    draft.touched.add(target.wave)
    if refusal.how == "strand" and target.state is TargetState.FAILED:
        draft.move(target, TargetState.STUCK, event="target-stuck", wants="", code=code, reason=reason)
    elif refusal.how == "strand":
        draft.put(replace(target, wants="", code=code, reason=reason))
        draft.tell("way-back-refused", {"code": code, "reason": reason}, tenant=target.tenant)
    elif refusal.how == "skip":
        draft.move(target, TargetState.SKIPPED, event="target-skipped", code=code, reason=reason)
    else:
        until = refusal.until
        draft.move(target, TargetState.DEFERRED, event="target-deferred", code=code, reason=reason, waits_until=until)
        if until is not None:
            draft.look_at(until, target.tenant)


def _wait(draft: Draft, target: TargetNow, refusal: Refusal) -> TargetNow:
    """Wait on; written only when the reason is a new one."""
    waiting = refused(target, refusal, draft.now)
    same = (target.code, target.reason) == (refusal.code, refusal.reason)
    return draft.remember(waiting) if same else draft.put(waiting)


def _waited_too_long(draft: Draft, target: TargetNow, refusal: Refusal) -> bool:
    """An unreachable target stops holding its wave up after the wave's progress deadline: it is deferred."""
    if refusal.code != "unreachable" or target.state is not TargetState.PENDING or target.waiting_since is None:
        return False
    return draft.now >= progress_due_at(target.waiting_since, draft.memory.plan.waves[target.wave].success)
