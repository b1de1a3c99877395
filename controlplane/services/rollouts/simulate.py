"""What-if: plan as a preview does, read what history says, and play it many times in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from typing import cast

from controlplane.domain.failure_odds import FailureOdds, odds_from
from controlplane.domain.plans import Note, Plan
from controlplane.domain.requests import Ask
from controlplane.domain.simulations import SimulateRequest, Simulation, allowed_runs, standing_kinds, sum_up
from controlplane.domain.targets import Phase, PhaseDuration
from controlplane.domain.whatif import GateOdds, Odds, Run, play
from controlplane.ports.stores.rollout_rows import GateTimes, PastFailures

from .prepare import Prepared, prepare
from .tools import RolloutTools

FEW = 20
"""Fewer recorded targets say little about how often targets fail."""
ASSUMED_RATE = 0.01
_PLAYING = asyncio.Semaphore(1)
"""One at a time in a process: it takes a whole core for some seconds."""


async def simulate(tools: RolloutTools, wanted: SimulateRequest) -> Simulation:
    """Say how a rollout would probably go. Raises what a preview raises."""
    prepared = await prepare(tools, Ask(wanted.request()), to_start=False)
    async with tools.open() as uow:
        failures = await uow.rollouts.past_failures(prepared.ask.app)
        gates = await uow.rollouts.gate_times(prepared.ask.app)
        now = uow.now
    odds, assumptions = odds_of(prepared, failures, gates, wanted.failure_rate)
    fails = FailureOdds(odds.fails, odds.rho)
    count = allowed_runs(prepared.plan, wanted.runs)
    async with _PLAYING:
        runs = await _play(prepared.plan, odds, now, range(wanted.seed, wanted.seed + count))
    return sum_up(prepared.plan, runs, now, seed=wanted.seed, odds=fails, assumptions=assumptions)


def odds_of(
    prepared: Prepared, failures: PastFailures, gates: Sequence[GateTimes], rate: float | None
) -> tuple[Odds, list[Note]]:
    """What to draw from, and what of it is assumed rather than recorded."""
    notes = [Note(code="what-if-alone", detail="Other rollouts, full quotas and clusters that go away are not played.")]
    known = failures.targets >= FEW
    fails = FailureOdds(ASSUMED_RATE if rate is None else rate)
    if rate is None:
        if known:
            fails = odds_from(failures.rollouts)
        else:
            detail = (
                f"Only {failures.targets} targets of this app are recorded; {ASSUMED_RATE:.0%} are assumed to fail."
            )
            notes.append(Note(code="failure-rate-assumed", detail=detail))
    by_kind = {g.kind: GateOdds(g.failed / g.stood, PhaseDuration(g.p50, g.p90)) for g in gates if g.stood}
    standing = set(standing_kinds(prepared.plan))
    notes += [
        Note(code="gate-assumed-open", detail=f"No gate of kind {kind} is recorded; it opens at once here.")
        for kind in sorted(standing - by_kind.keys())
    ]
    if any(wave.before_each for wave in prepared.plan.waves):
        detail = "Gates before single targets let everybody pass here."
        notes.append(Note(code="before-each-assumed-open", detail=detail))
    missing = {"apply", "verify"} - prepared.durations.keys()
    if missing:
        notes.append(Note(code="times-assumed", detail=f"How long {' and '.join(sorted(missing))} take is assumed."))
    odds = Odds(
        durations=cast("dict[Phase, PhaseDuration]", dict(prepared.durations)),
        fails=fails.rate,
        rho=fails.rho,
        gates=by_kind,
        migrates="migrate" in prepared.durations,
        windows=prepared.windows,
    )
    return odds, notes


async def _play(plan: Plan, odds: Odds, now: datetime, seeds: range) -> list[Run]:
    """Play in another process, so that this one goes on answering."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, play_all, plan, odds, now, seeds)


def play_all(plan: Plan, odds: Odds, now: datetime, seeds: range) -> list[Run]:
    """Play once for each seed."""
    return [play(plan, odds, now, seed) for seed in seeds]
