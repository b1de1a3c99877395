"""What a what-if is asked, and what many runs say together. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import quantiles

from pydantic import Field

from controlplane.domain.failure_odds import FailureOdds
from controlplane.domain.gating import gates_of
from controlplane.domain.plans import Note, Plan
from controlplane.domain.quantities import Amount, Duration
from controlplane.domain.requests import RolloutRequest
from controlplane.domain.whatif import Moment, Run
from controlplane.domain.wire import Wire

MOST_PLAYS = 10_000
"""Targets times runs of one what-if: about ten seconds of work."""
POINTS = 40
"""Points of the curve."""


class SimulateRequest(RolloutRequest):
    """A rollout to be played, not started."""

    runs: int = Field(
        default=100, ge=1, le=1000, description="So many runs; fewer for a large plan, and the answer says how many."
    )
    seed: int = Field(
        default=1,
        ge=0,
        le=2**31,
        description="The same seed gives the same answer, as long as the plan and history are the same.",
    )
    failure_rate: float | None = Field(
        default=None, ge=0, le=1, description="Probability that a target fails; absent: as recorded for the app."
    )

    def request(self) -> RolloutRequest:
        """The rollout alone."""
        return RolloutRequest.model_validate(self.model_dump(by_alias=True, exclude={"runs", "seed", "failure_rate"}))


class Share(Wire):
    """How a part of the runs ended."""

    outcome: str
    stopped_by: str
    share: float


class GateChance(Wire):
    """How many of the runs a gate stopped: 0 for one that stood and stopped none, or that no run came to."""

    gate: str = Field(description="Its kind.")
    wave: str
    place: str = Field(description="before, during or after the wave.")
    index: int = Field(description="Its number in that place, from 0.")
    share: float


class Finish(Wire):
    """When runs end, counted from the start."""

    p50: Duration
    p90: Duration
    by: datetime = Field(description="The 90th percentile as a time.")


class Point(Wire):
    """What is at stake at a moment: median and 90th percentile over runs."""

    after: Duration
    in_flight: tuple[float, float]
    unverified: tuple[float, float]
    orders_per_hour: tuple[Amount, Amount]


class Simulation(Wire):
    """The answer of `POST /v1/rollouts:simulate`. `assumptions`: what was not recorded, and what a what-if never knows."""

    plan_hash: str
    targets: int
    runs: int
    seed: int
    ends: tuple[Share, ...]
    gates: tuple[GateChance, ...] = Field(
        description="For each gate of the plan, in order: the chance that it stops the rollout."
    )
    finish: Finish
    gone_back: tuple[float, float] = Field(description="Targets that go back or get stuck: median and 90th percentile.")
    curve: tuple[Point, ...]
    failure_rate: float
    clustering: float = Field(
        description="How much the targets of one run share their fate: 0, each fails on its own; near 1, all or none."
    )
    assumptions: tuple[Note, ...]


def allowed_runs(plan: Plan, wanted: int) -> int:
    """How many runs a plan of this size gets."""
    return max(min(wanted, MOST_PLAYS // max(plan.size, 1)), 5)


def sum_up(
    plan: Plan, runs: Sequence[Run], began: datetime, *, seed: int, odds: FailureOdds, assumptions: Sequence[Note]
) -> Simulation:
    """Put runs together."""
    ends = Counter((run.outcome, run.stopped_by) for run in runs)
    p50, p90 = middle_and_high([run.seconds for run in runs])
    return Simulation(
        plan_hash=plan.plan_hash,
        targets=plan.size,
        runs=len(runs),
        seed=seed,
        ends=tuple(
            Share(outcome=outcome, stopped_by=by, share=round(n / len(runs), 4))
            for (outcome, by), n in ends.most_common()
        ),
        gates=tuple(
            GateChance(
                gate=gate.kind,
                wave=plan.waves[key.wave].name,
                place=key.place,
                index=key.index,
                share=round(sum(run.gate == key for run in runs) / len(runs), 4),
            )
            for key, gate in gates_of(plan).items()
        ),
        finish=Finish(p50=_whole(p50), p90=_whole(p90), by=began + timedelta(seconds=round(p90))),
        gone_back=middle_and_high([float(run.gone_back) for run in runs]),
        curve=curve_of(runs),
        failure_rate=odds.rate,
        clustering=round(odds.rho, 4),
        assumptions=tuple(assumptions),
    )


def standing_kinds(plan: Plan) -> list[str]:
    """The kinds of gates that stand before, during or after waves of a plan."""
    return sorted({gate.kind for gate in gates_of(plan).values()})


def middle_and_high(values: Sequence[float]) -> tuple[float, float]:
    """Median and 90th percentile."""
    if len(values) == 1:
        return values[0], values[0]
    cuts = quantiles(values, n=10, method="inclusive")
    return cuts[4], cuts[8]


def curve_of(runs: Sequence[Run]) -> tuple[Point, ...]:
    """The curves of all runs at equal distances up to the end of the longest."""
    last = max((run.seconds for run in runs), default=0.0)
    times = [last * n / (POINTS - 1) for n in range(POINTS)] if last else [0.0]
    read = [_at_times(run.curve, times) for run in runs]
    points = []
    for n, time in enumerate(times):
        moments = [one[n] for one in read]
        orders = middle_and_high([float(m.orders_per_hour) for m in moments])
        points.append(
            Point(
                after=_whole(time),
                in_flight=middle_and_high([float(m.in_flight) for m in moments]),
                unverified=middle_and_high([float(m.unverified) for m in moments]),
                orders_per_hour=(Decimal(str(round(orders[0], 2))), Decimal(str(round(orders[1], 2)))),
            )
        )
    return tuple(points)


def _at_times(curve: Sequence[Moment], times: Sequence[float]) -> list[Moment]:
    found, at, now = [], 0, Moment(0, 0, 0, Decimal(0))
    for time in times:
        while at < len(curve) and curve[at].seconds <= time:
            now = curve[at]
            at += 1
        found.append(now)
    return found


def _whole(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))
