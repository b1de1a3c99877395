"""What the pages of the fleet and of a rollout show, each read in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from controlplane.domain.rollout_views import RolloutTarget, RolloutView
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState, TargetState
from controlplane.ports.stores.approvals import VoteRow
from controlplane.ports.stores.budgets import BreakerRecord
from controlplane.ports.stores.freezes import FreezeRecord
from controlplane.ports.stores.gates import GateRecord
from controlplane.ports.stores.panel import FleetCounts
from controlplane.ports.stores.releases import HoldRecord
from controlplane.ports.stores.rollout_rows import RolloutHead
from controlplane.ports.uow import UnitOfWork
from controlplane.services.blame import newest_verdict
from controlplane.services.rollouts import reads
from controlplane.services.rollouts.explain import view_of
from controlplane.services.rollouts.retry import head_of

from .says import ways_back

UNFINISHED: Final = tuple(sorted(set(RolloutState) - ROLLOUT_OVER))
_ROLLOUTS: Final = 20
_CHANGES: Final = 50
_ILL: Final = 10
_TARGETS: Final = 100
_VERDICTS: Final = ("fail", "unknown", "wait", "pass")


@dataclass(frozen=True)
class Told:
    """One line of history in words."""

    at: datetime
    what: str
    id: str
    change: str
    tenant: str | None
    detail: str


@dataclass(frozen=True)
class Stopped:
    """A rollout that does not go on by itself, or ended otherwise than it should: why, and the way back."""

    view: RolloutView
    back: list[str]


@dataclass(frozen=True)
class Overview:
    """The fleet now."""

    counts: FleetCounts
    breakers: Sequence[BreakerRecord]
    freezes: Sequence[FreezeRecord]
    holds: Sequence[HoldRecord]
    asking: Sequence[GateRecord]
    stopped: Sequence[Stopped]
    moving: Sequence[RolloutView]
    ended: Sequence[RolloutView]
    changes: Sequence[Told]
    more_changes: bool


async def overview(
    uow: UnitOfWork, since: datetime, cluster: str | None, app: str | None, *, may_see_holds: bool
) -> Overview:
    """Read it. Changes and ended rollouts are those since then; what stands is shown whatever its age."""
    views = await _views(uow, since, app)
    stopped = [view for view in views if needs_attention(view)]
    changes = await uow.looks.changes(since, cluster, app, None, _CHANGES + 1)
    return Overview(
        counts=await uow.panel.fleet(_ILL),
        breakers=[one for one in await uow.budgets.breakers() if one.state],
        freezes=await uow.freezes.page(None, _ROLLOUTS, ended=False),
        holds=await uow.releases.holds(None, _ROLLOUTS, lifted=False) if may_see_holds else [],
        asking=await uow.gates.outstanding([app] if app else None, None, _ROLLOUTS),
        stopped=[Stopped(view, ways_back(view, await uow.panel.ways_back(view.id))) for view in stopped],
        moving=[v for v in views if v not in stopped and RolloutState(v.state) not in ROLLOUT_OVER],
        ended=[v for v in views if v not in stopped and RolloutState(v.state) in ROLLOUT_OVER],
        changes=[told_of(c.at, c.kind, c.id, c.type, c.data, c.tenant) for c in changes[:_CHANGES]],
        more_changes=len(changes) > _CHANGES,
    )


async def _views(uow: UnitOfWork, since: datetime, app: str | None) -> list[RolloutView]:
    apps = [app] if app else None
    open_ = await uow.rollouts.heads(states=UNFINISHED, apps=apps, tenant=None, before=None, limit=_ROLLOUTS)
    over = await uow.rollouts.heads(states=ROLLOUT_OVER, apps=apps, tenant=None, before=None, limit=_ROLLOUTS)
    recent = [head for head in over if head.ended_at and head.ended_at >= since]
    return [await _view(uow, head.id) for head in [*open_, *recent]]


async def _view(uow: UnitOfWork, rollout_id: uuid.UUID) -> RolloutView:
    return view_of(await head_of(uow, rollout_id), "", uow.now)


@dataclass(frozen=True)
class RolloutPage:
    """Everything about a rollout. `more`: where the next page of its targets begins, if there is one."""

    view: RolloutView
    targets: Sequence[RolloutTarget]
    more: tuple[int, int] | None
    gates: Sequence[GateRecord]
    votes: Sequence[VoteRow]
    back: list[str]
    events: Sequence[Told]


async def rollout_page(
    uow: UnitOfWork, head: RolloutHead, state: TargetState | None, after: tuple[int, int] | None
) -> RolloutPage:
    """Read it; `state` and `after` choose among the targets."""
    view = view_of(head, "", uow.now, blame=await newest_verdict(uow, head.id))
    rows = await uow.rollouts.target_views(
        head.id, states=[state] if state else (), wave=None, tenant=None, after=after, limit=_TARGETS + 1
    )
    events = await uow.rollouts.events(head.id, max(0, head.event_seq - _CHANGES), _CHANGES)
    last = rows[_TARGETS - 1] if len(rows) > _TARGETS else None
    return RolloutPage(
        view=view,
        targets=[reads.target_of(row) for row in rows[:_TARGETS]],
        more=(last.wave, last.position) if last else None,
        gates=sorted(await uow.gates.of_rollout(head.id), key=lambda gate: _VERDICTS.index(gate.verdict)),
        votes=await uow.approvals.all(head.id),
        back=ways_back(view, await uow.panel.ways_back(head.id)),
        events=[told_of(e.at, "rollout", str(head.id), e.type, e.data, e.tenant) for e in reversed(events)],
    )


def needs_attention(view: RolloutView) -> bool:
    """Whether a rollout stands still until a person acts, or ended badly."""
    waits = any(one.who or one.gate == "stuck" for one in view.waiting_for)
    halted = any(wave.state == "failed" for wave in view.waves)
    bad_end = view.state in (RolloutState.FAILED, RolloutState.ABORTED)
    return view.paused or waits or halted or bad_end or view.state == RolloutState.ROLLING_BACK


def told_of(at: datetime, kind: str, id_: str, type_: str, data: Mapping[str, Any], tenant: str | None = None) -> Told:
    """An entry of history in words. `type_` is its event type; a freeze is named by what it selects."""
    change = type_.removeprefix("dev.seawall.").rsplit(".", 1)[0].partition(".")[2].replace("-", " ")
    facts = [str(data.get("release") or ""), f"wave {data['wave']}" if data.get("wave") else "", _why(data)]
    named = str(data.get("selector") or "everything") if kind == "freeze" else id_
    return Told(at, kind, named, change, tenant, ", ".join(fact for fact in facts if fact))


def _why(data: Mapping[str, Any]) -> str:
    by = f" (by {data['by']})" if data.get("by") else ""
    return f"{data.get('reason') or ''}{by}".strip()
