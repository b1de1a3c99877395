"""What-if: the engine's own decisions in virtual time."""

from __future__ import annotations

from datetime import timedelta
from statistics import median
from typing import Any

import pytest

from controlplane.domain.failure_odds import FailureOdds
from controlplane.domain.planner import plan
from controlplane.domain.plans import Plan
from controlplane.domain.simulations import allowed_runs, curve_of, sum_up
from controlplane.domain.strategies import parse_strategy
from controlplane.domain.targets import Phase, PhaseDuration
from controlplane.domain.whatif import GateOdds, Odds, Run, play
from controlplane.domain.windows import Attached, Span, Worked, windows_of

from .fleet import NOW, fleet, inputs

EXACT: dict[Phase, PhaseDuration] = {
    "preflight": PhaseDuration(1, 1),
    "apply": PhaseDuration(9, 9),
    "verify": PhaseDuration(50, 50),
}
BACK: dict[Phase, PhaseDuration] = {**EXACT, "back": PhaseDuration(20, 20)}


def planned(size: int = 20, **rules: Any) -> Plan:
    body = {
        "waves": [
            {"name": "pilot", "cut": {"count": 2}, "soak": {"for": "PT10M"}},
            {"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT10M"}},
        ],
        "limits": {"inFlight": 5},
        "success": {"maxFailures": 1},
        **rules,
    }
    return plan(inputs(fleet(size), parse_strategy(body, gates={"approval", "metric", "backup"})))


def test_without_spread_it_takes_what_the_phases_and_soaks_add_up_to() -> None:
    run = play(planned(), Odds(durations=EXACT), NOW, seed=1)
    assert (run.outcome, run.verified, run.gone_back, run.stopped_by) == ("succeeded", 20, 0, "")
    rounds = 1 + 4  # the pilots together, then 18 targets, 5 at once
    assert run.seconds == pytest.approx(rounds * (60 + 600), rel=0.02)


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    odds = Odds(fails=0.1)
    assert play(planned(), odds, NOW, 7) == play(planned(), odds, NOW, 7)
    assert play(planned(), odds, NOW, 7) != play(planned(), odds, NOW, 8)


def test_no_cap_is_exceeded_at_any_moment_of_any_run() -> None:
    for seed in range(20):
        run = play(planned(40, limits={"inFlight": 3, "unverified": 4}), Odds(fails=0.05), NOW, seed)
        assert max(moment.in_flight for moment in run.curve) <= 3
        assert run.curve[-1].in_flight == 0


def test_failures_stop_it_as_the_strategy_says_and_only_the_failed_go_back() -> None:
    run = play(planned(), Odds(durations=BACK, fails=1.0), NOW, 1)
    assert (run.outcome, run.stopped_by, run.gone_back, run.verified) == ("failed", "too-many-failures", 2, 0)


def test_gates_take_their_time_and_stop_waves_as_often_as_recorded() -> None:
    waves = [
        {
            "name": "all",
            "cut": {"percent": "100%"},
            "before": [{"approval": {"group": "business"}}],
            "beforeEach": [{"backup": {}}],
            "after": [{"metric": {"query": "x", "max": 1}}],
        }
    ]
    plan_ = planned(4, waves=waves)
    odds = Odds(durations=EXACT, gates={"approval": GateOdds(0.0, PhaseDuration(3600, 3600))})
    assert play(plan_, odds, NOW, 1).seconds == pytest.approx(3600 + 60, abs=10)
    always = Odds(durations=BACK, gates={"metric": GateOdds(1.0)})
    run = play(plan_, always, NOW, 1)
    assert (run.outcome, run.stopped_by, run.gone_back) == ("failed", "metric", 4)


def test_a_closed_window_delays_it() -> None:
    opens = NOW + timedelta(hours=6)
    calendar = Worked("night", "deny", (Span(NOW - timedelta(days=1), opens),))
    windows = Attached((windows_of([calendar], "UTC"),), {f"t{n:05}": 0 for n in range(4)}, 1)
    run = play(planned(4), Odds(durations=EXACT, windows=windows), NOW, 1)
    assert run.outcome == "succeeded"
    assert run.seconds > 6 * 3600


def test_a_release_that_migrates_takes_its_backup_and_migration_besides() -> None:
    durations: dict[Phase, PhaseDuration] = {
        **EXACT,
        "backup": PhaseDuration(100, 100),
        "migrate": PhaseDuration(200, 200),
    }
    quick = play(planned(2), Odds(durations=durations), NOW, 1).seconds
    slow = play(planned(2), Odds(durations=durations, migrates=True), NOW, 1).seconds
    assert slow - quick == pytest.approx(300, abs=2)


def test_many_runs_give_shares_times_and_a_curve() -> None:
    made = planned()
    runs = [play(made, Odds(fails=0.05), NOW, seed) for seed in range(60)]
    said = sum_up(made, runs, NOW, seed=0, odds=FailureOdds(0.05), assumptions=())
    assert sum(end.share for end in said.ends) == pytest.approx(1.0, abs=0.001)
    assert {end.outcome for end in said.ends} == {"succeeded", "failed"}
    assert said.finish.p50.total_seconds() == pytest.approx(median(run.seconds for run in runs), abs=1)
    assert said.finish.p50 < said.finish.p90
    assert max(point.in_flight[1] for point in said.curve) <= 5
    assert said.curve[-1].in_flight == (0.0, 0.0)


def test_failures_that_come_together_stop_fewer_runs_but_hit_more_targets_when_they_do() -> None:
    made = planned(success={"maxFailures": 20})
    apart = [play(made, Odds(fails=0.1), NOW, seed).gone_back for seed in range(80)]
    together = [play(made, Odds(fails=0.1, rho=0.6), NOW, seed).gone_back for seed in range(80)]
    assert sum(back == 0 for back in together) > 2 * sum(back == 0 for back in apart)
    assert max(together) > max(apart)


def test_every_gate_of_the_plan_has_a_chance_of_stopping_it() -> None:
    made = planned(during=[{"metric": {"use": "traefik-5xx"}}])
    made = made.model_copy(
        update={"waves": [w.model_copy(update={"before": ({"approval": {"group": "business"}},)}) for w in made.waves]}
    )
    odds = Odds(durations=BACK, gates={"metric": GateOdds(0.5), "approval": GateOdds(0.0)})
    runs = [play(made, odds, NOW, seed) for seed in range(40)]
    said = sum_up(made, runs, NOW, seed=0, odds=FailureOdds(), assumptions=())
    chances = {(one.wave, one.place, one.gate): one.share for one in said.gates}
    assert chances["pilot", "before", "approval"] == chances["all", "before", "approval"] == 0
    assert chances["pilot", "during", "metric"] == pytest.approx(0.5, abs=0.2)
    assert chances["all", "during", "metric"] == pytest.approx(0.25, abs=0.2)  # half of the runs come to it
    assert sum(chances.values()) == pytest.approx(sum(end.share for end in said.ends if end.stopped_by == "metric"))


def test_of_two_gates_of_a_kind_the_one_that_stopped_it_is_named() -> None:
    after = [{"metric": {"query": "x", "max": 1}}, {"metric": {"query": "y", "max": 1}}]
    made = planned(4, waves=[{"name": "all", "cut": {"percent": "100%"}, "after": after}])
    runs = [play(made, Odds(durations=BACK, gates={"metric": GateOdds(0.5)}), NOW, seed) for seed in range(40)]
    said = sum_up(made, runs, NOW, seed=0, odds=FailureOdds(), assumptions=())
    assert [(one.gate, one.index) for one in said.gates] == [("metric", 0), ("metric", 1)]
    assert all(one.share > 0 for one in said.gates)
    assert {run.gate.index for run in runs if run.gate} == {0, 1}


def test_a_large_plan_gets_fewer_runs_but_some() -> None:
    assert allowed_runs(planned(20), 1000) == 500
    assert allowed_runs(planned(20), 30) == 30
    huge = planned(20).model_copy(update={"waves": planned(20).waves * 500})
    assert allowed_runs(huge, 1000) == 5


def test_a_curve_of_nothing_is_nothing() -> None:
    assert [point.in_flight for point in curve_of([Run("waiting", 0, "", 0, 0, ())])] == [(0.0, 0.0)]
