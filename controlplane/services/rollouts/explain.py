"""From a rollout's row and counts to what a person wants to know: where it stands, why, what is next, who can act."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from controlplane.domain.blame_views import VerdictView
from controlplane.domain.breaker import breaker_name
from controlplane.domain.rollout_views import (
    Explanation,
    RolloutItem,
    RolloutView,
    StakeView,
    Trouble,
    WaitingOn,
    WaveView,
)
from controlplane.domain.rollouts import ROLLOUT_OVER, TARGET_FORWARD, RolloutState, TargetState
from controlplane.ports.stores.budgets import BreakerRecord
from controlplane.ports.stores.rollout_rows import RolloutHead, TargetCount

_GATES = {"busy": "slot"}
_TROUBLED = (TargetState.STUCK, TargetState.FAILED, TargetState.ROLLING_BACK, TargetState.ROLLED_BACK)
_OPERATOR = "operator, release-manager"
_CATCH_UP = (TargetState.DEFERRED, TargetState.SKIPPED)


def item_of(head: RolloutHead) -> RolloutItem:
    """A rollout as lists show it."""
    return RolloutItem(
        id=head.id,
        kind=head.kind,
        app=head.app,
        release=f"{head.app}/{head.version}" if head.version else None,
        environment=head.environment,
        selector=head.selector,
        strategy=f"{head.strategy}@{head.strategy_version}" if head.strategy_version else head.strategy,
        state=head.state,
        outcome=head.outcome,
        paused=head.state == RolloutState.PAUSED or _pausing(head),
        reason=head.reason,
        change_ref=head.change_ref,
        requested_by=head.requested_by,
        emergency=((head.origin.get("request") or {}).get("emergency") or {}).get("criterion", ""),
        origin={key: value for key, value in head.origin.items() if key not in ("request", "trace")},
        plan_hash=head.plan_hash,
        not_before=head.not_before,
        created_at=head.created_at,
        started_at=head.started_at,
        ended_at=head.ended_at,
    )


def view_of(
    head: RolloutHead,
    url: str,
    now: datetime,
    stake: StakeView | None = None,
    breakers: Sequence[BreakerRecord] = (),
    blame: VerdictView | None = None,
) -> RolloutView:
    """A rollout as its own page shows it. `url` is its address; `stake`: what it has in flight; `breakers`: those not closed;
    `blame`: the newest verdict that concerns it.
    """
    counts = _by_state(head.counts)
    return RolloutView(
        **dict(item_of(head)),
        targets=sum(counts.values()),
        counts=counts,
        deferred=counts.get(TargetState.DEFERRED, 0),
        catch_up=sum(c.number for c in head.counts if c.code == "window" and c.state in _CATCH_UP),
        waiting_for=[*waiting_for(head, now), *_breakers(head, breakers), *_blame(head, blame)],
        in_flight=stake,
        waves=[_wave(head, index) for index in range(len(head.waves))],
        explanation=explanation_of(head, now),
        blame=blame,
        targets_url=f"{url}/targets",
        events_url=f"{url}/events",
    )


def waiting_for(head: RolloutHead, now: datetime) -> list[WaitingOn]:
    """Everything that keeps it from moving and is neither a pause nor a deferral."""
    found = [WaitingOn.model_validate(entry) for entry in head.waiting_for]
    if head.state == RolloutState.DRAFT:
        found.append(WaitingOn(gate="start", reason="It is a draft until somebody starts it.", who=_OPERATOR))
    if head.state == RolloutState.PLANNED and head.not_before and head.not_before > now:
        found.append(WaitingOn(gate="notBefore", reason="It was asked to start then.", until=head.not_before))
    for one in head.gates if _going(head) else ():
        reason = f"wave {one['wave']}: {one['reason']}"
        found.append(WaitingOn(gate=one["kind"], reason=reason, until=one["until"], who=one["who"] or None))
    for command in head.pending_commands:
        reason = f"The driver has not yet taken up `{command['command']}` by {command['actor']}; nothing is issued till then."
        found.append(WaitingOn(gate="command", reason=reason))
    for wave in head.waves:
        detail = wave["detail"] or {}
        if wave["state"] in ("pending", "gating") and detail.get("code"):
            reason = f"wave {wave['name']}: {detail['reason']}"
            found.append(
                WaitingOn.model_validate({"gate": detail["code"], "reason": reason, "until": detail.get("until")})
            )
    for count in head.counts:
        if count.state == TargetState.PENDING and count.code and not (count.until and count.until <= now):
            gate = _GATES.get(count.code, count.code)
            found.append(
                WaitingOn(gate=gate, reason=f"{count.tenant}: {count.reason}", until=count.until, targets=count.number)
            )
        if count.state == TargetState.STUCK:
            reason = f"{count.tenant}: {count.reason}"
            found.append(WaitingOn(gate="stuck", reason=reason, who=_OPERATOR, targets=count.number))
    return found


def _breakers(head: RolloutHead, breakers: Sequence[BreakerRecord]) -> list[WaitingOn]:
    """Open breakers hold up whoever still wants to go forward."""
    if head.state != RolloutState.RUNNING or not any(count.state == TargetState.PENDING for count in head.counts):
        return []
    words = {"open": "is open", "halfOpen": "lets one target through", "probing": "waits for what it let through"}
    return [
        WaitingOn(
            gate="breaker", reason=f"The breaker {breaker_name(b.scope)} {words[b.state]}: {b.reason}.", who="operator"
        )
        for b in breakers
        if b.state
    ]


def _blame(head: RolloutHead, blame: VerdictView | None) -> list[WaitingOn]:
    """Targets that hold because another change is blamed for their illness, until it has gone back or is over."""
    held = sum(c.number for c in head.counts if c.code == "disturbed")
    if not held or not _going(head) or blame is None or blame.role != "acquitted" or blame.act == "told":
        return []
    return [WaitingOn(gate="blame", reason=f"{blame.reason} {blame.why}", targets=held)]


def explanation_of(head: RolloutHead, now: datetime) -> Explanation:
    """Say in sentences what is going on."""
    counts = _by_state(head.counts)
    troubles = [
        Trouble(state=c.state, code=c.code, targets=c.number, example=c.tenant, reason=c.reason)
        for c in head.counts
        if c.state in _TROUBLED
    ]
    why = str(head.memory.get("reason") or head.memory.get("halted") or "")
    return Explanation(
        now=_now(head, counts), why=why, next=_next(head, counts, now), who=_who(head, counts), troubles=troubles
    )


def _now(head: RolloutHead, counts: Counter[str]) -> str:
    size, verified = sum(counts.values()), counts[TargetState.VERIFIED]
    moving = sum(counts[state] for state in TARGET_FORWARD)
    back = counts[TargetState.ROLLED_BACK]
    went = f"{verified} of {size} targets verified" + (f", {back} rolled back" if back else "")
    match head.state:
        case RolloutState.DRAFT | RolloutState.PLANNED:
            return f"Nothing has started; {size} targets are planned."
        case RolloutState.RUNNING | RolloutState.PAUSED | RolloutState.ROLLING_BACK:
            words = {"running": "Running", "paused": "Paused", "rollingBack": "Going back"}
            going = counts[TargetState.ROLLING_BACK] + counts[TargetState.FAILED]
            return f"{words[head.state]}: {went}, {moving} moving forward" + (
                f", {going} going back." if going else "."
            )
        case _:
            return f"Over ({head.outcome or head.state}): {went}."


def _next(head: RolloutHead, counts: Counter[str], now: datetime) -> str:
    pending = counts[TargetState.PENDING]
    match head.state:
        case RolloutState.DRAFT:
            return "Somebody starts it, or aborts it."
        case RolloutState.PLANNED if head.not_before and head.not_before > now:
            return f"It starts at {head.not_before:%Y-%m-%dT%H:%M:%SZ}."
        case RolloutState.PLANNED:
            return "A worker takes it up."
        case RolloutState.PAUSED:
            return "Somebody resumes or aborts it; what is in flight finishes."
        case RolloutState.ROLLING_BACK:
            return "What was changed goes back; nothing forward starts."
        case RolloutState.RUNNING if _pausing(head):
            return "It pauses; what is in flight finishes."
        case RolloutState.RUNNING:
            wave = next((w["name"] for w in head.waves if w["state"] not in ("done", "failed")), None)
            return (
                f"Wave {wave} goes on; {pending} targets have not started."
                if wave
                else "It ends when nothing is in flight."
            )
        case _:
            left = sum(counts[s] for s in (TargetState.SKIPPED, TargetState.CANCELLED, TargetState.DEFERRED))
            who = "1 target was" if left == 1 else f"{left} targets were"
            return f"{who} left out; a retry gives the same content." if left else ""


def _who(head: RolloutHead, counts: Counter[str]) -> str:
    if head.state in (RolloutState.DRAFT, RolloutState.PAUSED) or counts[TargetState.STUCK]:
        return _OPERATOR
    return ", ".join(dict.fromkeys(gate["who"] for gate in head.gates if gate["who"])) if _going(head) else ""


def _going(head: RolloutHead) -> bool:
    return head.state not in ROLLOUT_OVER


def _pausing(head: RolloutHead) -> bool:
    """Whether the last word given is a pause that the driver has not yet taken up; it binds already."""
    words = [c["command"] for c in head.pending_commands if c["command"] in ("pause", "resume", "abort")]
    return bool(words) and words[-1] == "pause"


def _wave(head: RolloutHead, index: int) -> WaveView:
    row = head.waves[index]
    counts = _by_state([c for c in head.counts if c.wave == row["wave"]])
    detail = row["detail"] or {}
    return WaveView(
        name=row["name"],
        state=row["state"],
        targets=sum(counts.values()),
        counts=counts,
        started_at=row["startedAt"],
        ended_at=row["endedAt"],
        code=detail.get("code", ""),
        reason=detail.get("reason", ""),
    )


def _by_state(counts: Sequence[TargetCount]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total[count.state] += count.number
    return total
