"""The dispatch part of a driver's transaction: lock, ask the pure rules, write who starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from controlplane.domain.admission import ClusterFacts
from controlplane.domain.decide_windows import obeys_windows
from controlplane.domain.dispatch import Started, let_through, needs_of, screen, start
from controlplane.domain.draft import Draft
from controlplane.domain.engine import Frozen
from controlplane.domain.exposure import FLEET_IN_FLIGHT, Amount, Budget, kind_of
from controlplane.ports.engine import EngineTransaction, Loaded
from controlplane.ports.meters import SILENT, Meters
from controlplane.services.fleet import Fleet
from controlplane.services.preparing import Prepared


@dataclass(frozen=True, slots=True)
class Dispatched:
    """Who started, what budgets gained, and the freezes as this transaction saw them."""

    started: Sequence[Started] = ()
    taken: Mapping[str, Amount] = field(default_factory=dict)
    frozen: Frozen = field(default_factory=Frozen)


class Dispatcher:
    """Dispatches for one rollout."""

    def __init__(self, fleet: Fleet, loaded: Loaded, meters: Meters = SILENT) -> None:
        self._fleet = fleet
        self._meters = meters
        self._loaded = loaded
        self._memory = loaded.memory

    async def judge_breakers(self, tx: EngineTransaction) -> None:
        """See whether what failed opens a breaker: before budgets are locked, so that nothing forward is granted after it."""
        for code in await tx.judge_breakers():
            self._meters.breaker_opened(code)

    async def dispatch(self, tx: EngineTransaction, draft: Draft, prepared: Mapping[str, Prepared]) -> Dispatched:
        """Start who may, in order: (1) lock environments, (2) screen, (3) lock budgets, (4) look at freezes, (5) grant, (6) issue."""
        asked = [*draft.onward, *draft.forward]
        if not asked:
            await tx.lock_budgets(())
            return Dispatched(frozen=self._memory.frozen)
        app, environment = self._loaded.app, self._memory.plan.environment
        rows = await tx.lock_environments(asked, app, environment)
        onward, forward = screen(draft, rows, {tenant: self._facts(draft, tenant, prepared) for tenant in asked})
        scopes = {scope for tenant in (*onward, *forward) for scope in needs_of(draft, tenant)}
        scopes |= {FLEET_IN_FLIGHT} if draft.forward else set()
        budgets = await tx.lock_budgets(scopes)
        frozen = self._memory.frozen
        if draft.forward:  # also if nobody is left of them: what held them back may have been taken away
            frozen = await tx.frozen(frozen, list(self._memory.targets))
            budgets = _past_freezes(budgets, frozen)
            forward = [] if frozen.all_reason else [tenant for tenant in forward if tenant not in frozen.tenants]
            forward = [tenant for tenant in forward if draft.target(tenant).cluster not in frozen.upgrading]
            if obeys_windows(self._memory.plan) and self._windows_moved(frozen, tx.now):
                forward = []
        how = {tenant: prepared[tenant].asked for tenant in (*onward, *forward)}
        started, refused = start(draft, [*onward, *forward], how, rows, budgets, self._loaded.timeline)
        for tenant, half_open in let_through(started, budgets).items():
            await tx.let_through(tenant, half_open)
        for refusal in refused:
            self._meters.refused(refusal.why, kind_of(refusal.scope))
        work = {one.target.tenant: prepared[one.target.tenant].work for one in started}
        await tx.issue(started, work, app=app, environment=environment, release=self._release())
        return Dispatched(started, _sum(started), frozen)

    def _windows_moved(self, frozen: Frozen, now: datetime) -> bool:
        """Whether calendars changed, or a window opened or closed, since they were looked at: look again before anybody starts."""
        return frozen.version != self._memory.windows.version or self._memory.closed.stale(now)

    def _facts(self, draft: Draft, tenant: str, prepared: Mapping[str, Prepared]) -> ClusterFacts:
        target, said = draft.target(tenant), self._memory.frozen
        facts = self._fleet.facts(target.cluster, target.namespace, prepared[tenant].peak)
        if target.cluster in said.upgrading:
            return replace(facts, upgrading="its configuration says so")
        return replace(facts, upgrading="") if target.cluster in said.never_upgrading else facts

    def _release(self) -> str:
        """The version new revisions carry; empty where each target has its own (a rollback)."""
        return "" if self._memory.plan.kind == "rollback" else self._loaded.release


def _past_freezes(budgets: Mapping[str, Budget], frozen: Frozen) -> Mapping[str, Budget]:
    """Budgets as an emergency meets them: the fleet row is closed for it only by a freeze that it does not pass. Caps hold."""
    fleet = budgets.get(FLEET_IN_FLIGHT)
    if fleet is None or not frozen.passes or frozen.all_reason:
        return budgets
    return {**budgets, FLEET_IN_FLIGHT: replace(fleet, closed=False)}


def _sum(started: Sequence[Started]) -> dict[str, Amount]:
    taken: dict[str, Amount] = {}
    for one in started:
        for scope, amount in one.takes.items():
            taken[scope] = taken.get(scope, 0) + amount
    return taken
