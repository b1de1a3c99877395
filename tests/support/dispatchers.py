"""Many dispatchers at once on real PostgreSQL: the engine's own decisions and transactions, and a fleet that only answers.

Everything that grants, takes and gives back is the real thing: `decide`, the dispatch transaction, the budget rows, leases. What
is played is what a cluster would say; here nothing hangs on it but whether a target goes forward or back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, cast

import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.adapters.postgres.database import Database
from controlplane.adapters.postgres.engine.store import PostgresEngineStore
from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.domain.admission import ClusterFacts
from controlplane.domain.decide import decide
from controlplane.domain.draft import Draft
from controlplane.domain.engine import Change, EffectDone, Looked, Memory, TargetNow
from controlplane.domain.errors import DependencyError
from controlplane.domain.fleet_limits import FleetLimits
from controlplane.domain.health import Health, Judgement
from controlplane.domain.ledger_check import MoveEntry, Violation, check_moves
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.domain.rollouts import ROLLOUT_OVER
from controlplane.ports.engine import Loaded
from controlplane.ports.leases import HeldLease, LeaseLostError
from controlplane.ports.uow import UnitOfWork
from controlplane.services.dispatching import Dispatcher
from controlplane.services.fleet import Fleet as Gate
from controlplane.services.freezes import FreezeWish, freeze, thaw
from controlplane.services.limits import apply_limits
from controlplane.services.openings import Openings
from controlplane.services.preparing import Preparer
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.support.registry import APP, Fleet


def strategy_of(room: int) -> dict[str, Any]:
    """A rollout's own limits: with `room` 1 three or four targets at once, so that it asks often; with more it is the fleet's that bind."""
    return {
        "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}}],
        "limits": {
            "inFlight": 40 * room,
            "exposure": 350 * room,
            "moneyAtRisk": {"amount": str(900 * room), "currency": "EUR"},
            "perCluster": 30 * room,
        },
        "success": {"min": 1, "maxFailures": "100%"},
        "onFailure": {"rollBack": "failed-targets", "then": "continue"},
    }


CLUSTERS = ("aks-1", "aks-2", "aks-3", "aks-4")
TIMEOUTS = "-c idle_in_transaction_session_timeout=300s -c statement_timeout=300s -c lock_timeout=300s"
"""One process plays all workers, so that a transaction may wait long for its turn: that is not what is tested here."""
DIES = 0.04
"""How often a process dies inside a transaction that starts somebody, and as often right after it."""
LEASE_SECONDS = 600.0
"""Nobody loses one by being slow, as many drivers in one process are: who dies is drawn (`DIES`), and gives its lease up to expiry."""
HEALTHY = Judgement(Health.HEALTHY)


class Answering:
    """A fleet whose caches always know the namespace."""

    def facts(self, _cluster: str, namespace: str, _peak: object = None) -> ClusterFacts:
        """Reachable, with the uid the registry has."""
        return ClusterFacts(True, uid=f"uid-{namespace}")


@dataclass
class Tally:
    """What happened."""

    dispatched: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    takeovers: int = 0
    zombies_stopped: int = 0
    cap_changes: int = 0
    freezes: int = 0


class Crash(Exception):  # noqa: N818 -- it stands for a process that dies, not for an error of ours
    """The process died inside a transaction."""


class Dispatching:
    """One worker's driver of one rollout, which crashes now and then, inside or between transactions."""

    def __init__(self, database: Database, rollout: uuid.UUID, tally: Tally, seed: int, patience: float) -> None:
        self._store = PostgresEngineStore(database)
        self._leases = PostgresLeases(database, ttl=LEASE_SECONDS)
        self._database = database
        self._rollout = rollout
        self._tally = tally
        self._patience = patience
        self._random = random.Random(seed)

    async def run(self) -> None:
        """Drive to the end, taking over from oneself after each crash."""
        while True:
            lease = await self._leases.take("rollout", self._rollout, f"worker-{uuid.uuid4()}")
            if lease is None:
                await asyncio.sleep(self._patience)
                continue
            loaded = await self._store.load(lease)
            with contextlib.suppress(Crash, LeaseLostError, DependencyError):
                if await self._drive(lease, loaded):
                    await self._leases.release(lease)
                    return
            await self._die(lease)

    async def _drive(self, lease: HeldLease, loaded: Loaded) -> bool:
        """Tick until the rollout is over (True), or the process dies between two transactions (False)."""
        memory = loaded.memory
        dispatcher = Dispatcher(cast("Gate", Answering()), loaded)
        preparer = Preparer(self._store, memory.id, loaded.app)
        changes = self._answers([memory.targets[one.tenant] for one in loaded.open_phases])
        openings = Openings(self._store, memory)
        now = loaded.now
        while memory.rollout.state not in ROLLOUT_OVER:
            await openings.look(now)
            draft = decide(memory, changes, now)
            first = draft.take()
            prepared, _ = await preparer.prepare([draft.target(t) for t in (*draft.onward, *draft.forward)])
            async with self._store.begin(lease) as tx:
                await tx.write(first, app=loaded.app, environment="production")
                dispatched = await dispatcher.dispatch(tx, draft, prepared)
                await tx.write(draft.take(), app=loaded.app, environment="production")
                await tx.settle(dispatched.taken)
                if dispatched.started and self._random.random() < DIES:
                    raise Crash
            memory.frozen = dispatched.frozen
            self._adopt(memory, draft)
            self._tally.dispatched += len(dispatched.started)
            if dispatched.started and self._random.random() < DIES:
                return False
            if not dispatched.started:
                memory.frozen = await self._store.frozen(memory.frozen, list(memory.targets), "production")
                await asyncio.sleep(self._patience)
            now = tx.now + timedelta(seconds=1)
            changes = self._answers([one.target for one in dispatched.started])
        return True

    def _adopt(self, memory: Memory, draft: Draft) -> None:
        before = {t.tenant: t.state for t in draft.memory.targets.values() if not t.in_flight}
        draft.adopt()
        self._tally.ends.update(
            str(t.state) for t in memory.targets.values() if not t.in_flight and before.get(t.tenant) is not t.state
        )

    def _answers(self, targets: Sequence[TargetNow]) -> list[Change]:
        """What the fleet says to what was issued: most of it works, some goes back, a little of that is stuck."""
        answers: list[Change] = []
        for target in targets:
            fails = self._random.random() < (0.02 if target.phase == "back" else 0.15)
            if fails:
                answers.append(EffectDone(target.tenant, target.phase, "failed", "rejected", "so the fleet says"))
            else:
                answers.append(EffectDone(target.tenant, target.phase, "ok"))
                answers.append(Looked(target.tenant, HEALTHY, live=True))
        return answers

    async def _die(self, lease: HeldLease) -> None:
        """The lease runs out; what the dead worker still had on its way is refused."""
        self._tally.takeovers += 1
        async with self._database.engine() as uow:
            await _expire(uow.session, self._rollout)
        try:
            async with self._store.begin(lease):
                pass
        except LeaseLostError:
            self._tally.zombies_stopped += 1


async def _expire(session: AsyncSession, rollout: uuid.UUID) -> None:
    statement = text("update leases set expires_at = clock_timestamp() - interval '1 second' where subject_id = :id")
    await session.execute(statement, {"id": rollout})


def caps_at(step: int, scale: int = 1) -> FleetLimits:
    """Fleet limits that go up and down: now generous, now below what is out. `scale`: for so many times 8 dispatchers."""
    low = step % 2 == 1

    def either(small: int, large: int) -> int:
        return scale * (small if low else large)

    return FleetLimits.model_validate(
        {
            "inFlight": either(60, 400),
            "exposure": either(600, 4000),
            "moneyAtRisk": str(either(1500, 12000)),
            "clusters": {name: {"inFlight": either(20, 150), "rollback": 10 * scale} for name in CLUSTERS},
            "regionPairs": {"both": {"regions": ["west", "north"], "inFlight": either(55, 300)}},
            "brands": {"acme": either(15, 100)},
            "breaker": {"unhealthy": None, "unhealthyOnCluster": None},
        }
    )


async def weather(database: Database, tally: Tally, over: asyncio.Event, every: float, scale: int) -> None:
    """Lower and raise the caps, and freeze everything for a moment now and then, until it is over.

    It ends by itself, between two of its acts: cancelled, it could leave a freeze that was committed and that nobody knows of.
    """
    step = 0
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), every)
            return
        step += 1
        await _insist(database, partial(apply_limits, name="fleet", spec=caps_at(step, scale)))
        tally.cap_changes += 1
        if step % 5 == 0:
            made = await _insist(database, partial(freeze, wish=FreezeWish(None, "a moment of peace"), actor="tests"))
            await asyncio.sleep(every / 2)
            await _insist(database, partial(thaw, freeze_id=made.id, actor="tests"))
            tally.freezes += 1


async def _insist[T](database: Database, write: Callable[[UnitOfWork], Awaitable[T]]) -> T:
    """Write as a person who is told to try again does: among many dispatchers a lock may not come within its five seconds."""
    while True:
        with contextlib.suppress(DependencyError):
            async with database.platform() as uow:
                return await write(uow)


async def play(
    database: Database,
    rows: Fleet,
    *,
    dispatchers: int,
    tenants_each: int,
    rounds: int,
    every: float,
    patience: float = 0.05,
    seed: int = 1,
    room: int = 1,
    scale: int | None = None,
) -> Tally:
    """Set a fleet up and let so many dispatchers move it, each its own tenants, one release after another.

    `every`: seconds between changes of all caps; `patience`: seconds after which who started nobody asks again; `room`: see `strategy_of`;
    `scale`: see `caps_at`.
    """
    scale = scale or max(1, dispatchers // 8)
    set_up(rows, dispatchers, tenants_each, caps_at(0, scale))
    rows.config("strategies", "sweep", strategy_of(room))
    async with database.platform() as uow:
        await apply_limits(uow, "fleet", caps_at(0, scale))
    tally, tools = Tally(), RolloutTools(open=database.platform)
    for number in range(rounds):
        version = f"{number + 1}.0"
        rows.release(version)
        started = [await _start(tools, version, names_of(group, tenants_each)) for group in range(dispatchers)]
        moving = [Dispatching(database, r, tally, seed * 1000 + n, patience) for n, r in enumerate(started)]
        over = asyncio.Event()
        async with asyncio.TaskGroup() as together:
            together.create_task(weather(database, tally, over, every, scale))
            await asyncio.gather(*(one.run() for one in moving))
            over.set()
        rows.run("update environments set dirty = false")
    return tally


def set_up(rows: Fleet, dispatchers: int, tenants_each: int, limits: FleetLimits) -> None:
    """Tenants in groups of their own, spread over clusters, regions and brands."""
    rows.basics()
    rows.config("limits", "fleet", limits.model_dump(mode="json", by_alias=True))
    for group in range(dispatchers):
        cluster, region = CLUSTERS[group % len(CLUSTERS)], ("west", "north")[group % 2]
        brand = {"brand": "acme"} if group % 3 == 0 else {}
        rows.tenants(
            names_of(group, tenants_each), cluster=cluster, region=region, labels={"group": f"g{group}", **brand}
        )


def names_of(group: int, tenants_each: int) -> list[str]:
    """The tenants of one dispatcher."""
    return [f"t{group:02}-{n:04}" for n in range(tenants_each)]


async def _start(tools: RolloutTools, version: str, tenants: list[str]) -> uuid.UUID:
    """Start a rollout over these; named, since a selector would read the whole fleet for each of many rollouts."""
    wish = RolloutRequest.model_validate({"release": f"{APP}/{version}", "strategy": "sweep"})
    ask = Ask(wish, tenants=frozenset(tenants))
    return (await plan_and_start(tools, ask, actor="tests", origin={"kind": "person"})).id


def sweep(url: str) -> tuple[tuple[Violation, ...], dict[str, int]]:
    """Check every move of every budget in commit order; also says how many moves each kind of scope had."""
    with psycopg.connect(url) as db:
        rows = db.execute(
            "select id, scope, delta, taken, reserved, cap, closed from budget_moves order by id"
        ).fetchall()
        reserved: dict[str, Decimal] = dict(db.execute("select scope, reserved from budgets").fetchall())
        held: dict[str, Decimal] = dict(
            db.execute("select scope, sum(amount) from reservations group by scope").fetchall()
        )
    kinds: Counter[str] = Counter()
    for row in rows:
        kinds[" ".join(part.partition(":")[0] for part in row[1].split("/"))] += row[3] > 0
    found = check_moves((MoveEntry(*row) for row in rows), reserved, held)
    return found, {kind: number for kind, number in kinds.items() if number}
