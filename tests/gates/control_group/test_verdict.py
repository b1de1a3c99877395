"""From what a metric source gave to a verdict in words."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from controlplane.domain.gating import Judged, Verdict
from controlplane.gates.control_group.duration_sides import evidence_of_durations
from controlplane.gates.control_group.sides import Measured, Members, evidence_of_counts, surge, usual_volume
from controlplane.gates.control_group.spec import ControlGroupSpec
from controlplane.gates.control_group.verdict import judge

NAMES = tuple(f"t{n:02}" for n in range(40))
BEGAN = 19_007 * 86_400
TREATED = NAMES[:4]
COUNTS = {"bad": "failed", "volume": "orders"}


def measured(harm: dict[str, float] | None = None, *, looks: int = 24, shock: float = 1.0, seed: int = 1) -> Measured:
    """A week of 720 orders an hour and tenant, 1% bad, then looks of five minutes."""
    rng = np.random.default_rng(seed)
    history = rng.poisson(720, (40, 168)).astype(np.float64)
    volume = rng.poisson(60, (40, looks)).astype(np.float64)
    factor = np.array([(harm or {}).get(name, 1.0) for name in NAMES])[:, None]
    return Measured(
        NAMES,
        rng.poisson(volume * 0.01 * factor * shock).astype(np.float64),
        volume,
        BEGAN + 300 * np.arange(1, looks + 1),
        rng.poisson(history * 0.01).astype(np.float64),
        history,
        BEGAN - 3600 * np.arange(168)[::-1],
    )


def members(treated: tuple[str, ...] = TREATED, untouched: tuple[str, ...] = NAMES[4:]) -> Members:
    return Members(dict.fromkeys(treated, float(BEGAN)), frozenset(untouched))


def verdict(data: Measured, who: Members | None = None, missing: tuple[str, ...] = (), **spec: Any) -> Judged:
    made = ControlGroupSpec.model_validate({**COUNTS, **spec})
    evidence = evidence_of_counts(data, who or members(), 300, made.min_control)
    return judge(made, {**evidence, "missing": list(missing)})


def test_a_release_that_doubles_failed_orders_fails_and_says_how_sure_it_is_and_who_drives_it() -> None:
    said = verdict(measured(dict.fromkeys(TREATED, 2.2)))
    assert said.verdict is Verdict.FAIL
    assert "treated tenants show" in said.reason
    assert "stops at 100" in said.reason
    assert set(said.detail["drivers"]) <= set(TREATED)
    low, likely, high = said.detail["factor"]
    assert low < likely < high
    assert 1.5 < likely < 3
    assert said.detail["probabilityOfHarm"] > 0.99


def test_a_fleet_wide_shock_of_ten_times_the_failures_passes() -> None:
    assert verdict(measured(shock=10.0)).verdict is Verdict.PASS


def test_a_calm_rollout_passes_after_enough_orders_and_says_what_would_refute_harm() -> None:
    assert verdict(measured(looks=1), min_volume=2000).verdict is Verdict.WAIT
    said = verdict(measured())
    assert said.verdict is Verdict.PASS
    assert "refute a factor of 1.2 or more" in said.detail["refuted"]


def test_a_suspicion_holds_further_dispatch_and_says_how_much_more_it_takes() -> None:
    said = verdict(measured(dict.fromkeys(TREATED, 1.6), looks=22), alpha=1e-9)
    assert said.verdict is Verdict.WAIT
    assert said.reason.startswith("suspicious: ")
    assert "more orders of treated tenants prove it" in said.reason


def test_one_tenant_s_campaign_is_put_before_a_person_instead_of_taking_all_back() -> None:
    data = measured({TREATED[2]: 8.0})
    assert verdict(data).verdict is Verdict.WAIT
    assert verdict(data).reason.startswith("t02 alone carries the evidence")
    assert verdict(data, alone="fail").verdict is Verdict.FAIL


def campaign(harm: float, *, seed: int = 1) -> Measured:
    """One treated tenant sells five times as much, to people whose orders fail three times as often."""
    data, rng = measured(dict.fromkeys(TREATED, harm), seed=seed), np.random.default_rng(seed)
    data.volume[1] *= 5
    data.bad[1] = rng.poisson(data.volume[1] * 0.01 * 3 * harm)
    return data


@pytest.mark.parametrize("seed", range(4))
def test_a_campaign_that_brings_many_more_orders_takes_nobody_back_unless_the_others_prove_it(seed: int) -> None:
    good = verdict(campaign(1.0, seed=seed))
    assert good.verdict is Verdict.WAIT
    assert good.who == "operator"
    assert re.match(r"t01 alone carries the evidence and has [45](\.\d)? times the orders", good.reason)
    assert verdict(campaign(3.0, seed=seed)).verdict is Verdict.FAIL


def test_orders_that_the_release_makes_many_of_everywhere_are_nobody_s_surge() -> None:
    data = measured(dict.fromkeys(TREATED, 2.2))
    data.volume[:4] *= 5
    data.bad[:4] *= 5
    assert verdict(data).verdict is Verdict.FAIL


def test_usual_volume_is_the_mean_of_the_same_hour_of_other_days() -> None:
    hours = np.arange(168)
    history = np.where(hours % 24 == 20, 120.0, 12.0)[None, :].repeat(2, axis=0)
    history[1, :100] = np.nan
    usual = usual_volume(history, hours, np.array([20, 44, 21]), 300)
    assert usual == pytest.approx(np.array([[10.0, 10.0, 1.0]] * 2))


def test_a_surge_is_growth_beyond_the_median_of_the_others() -> None:
    assert surge(np.array([5.0, 1.0, 2.0, 1.0]), 0) == pytest.approx(5.0)
    assert surge(np.array([5.0, 5.0]), 1) == pytest.approx(1.0)


def test_without_anybody_untreated_only_the_hard_limit_holds_and_it_says_so() -> None:
    everybody = members(NAMES, ())
    assert verdict(measured(), everybody).verdict is Verdict.UNKNOWN
    assert "no hard limit" in verdict(measured(), everybody).reason
    assert verdict(measured(), everybody, limit={"max": 0.05}).verdict is Verdict.PASS
    failed = verdict(measured(dict.fromkeys(NAMES, 9.0)), everybody, limit={"max": 0.05})
    assert failed.verdict is Verdict.FAIL
    assert "hard limit only" in failed.reason


def test_tenants_treated_later_are_control_until_then_and_never_after() -> None:
    later = {**dict.fromkeys(TREATED, float(BEGAN)), **dict.fromkeys(NAMES[4:], float(BEGAN + 300 * 12))}
    evidence = evidence_of_counts(measured(), Members(later, frozenset()), 300, 3)
    assert len(evidence["series"]) == 11  # from the twelfth look on nobody is untreated during all of it
    assert evidence["treated"] == 40


def test_a_changed_tenant_without_data_and_a_source_that_is_away_are_unknown_never_health() -> None:
    dark = verdict(measured(), missing=("t01",))
    assert dark.verdict is Verdict.UNKNOWN
    assert "no data of t01" in dark.reason
    spec = ControlGroupSpec.model_validate(COUNTS)
    assert judge(spec, {"error": "it answered 503"}).verdict is Verdict.UNKNOWN
    assert verdict(measured(looks=0)).verdict is Verdict.WAIT


def test_fewer_orders_than_expected_are_harm_where_down_is_bad() -> None:
    rng = np.random.default_rng(4)
    looks, history = rng.poisson(60, (40, 24)).astype(np.float64), rng.poisson(720, (40, 168)).astype(np.float64)
    looks[:4] = rng.poisson(30, (4, 24))
    ones = np.ones_like
    data = Measured(
        NAMES,
        looks,
        ones(looks) * 300,
        BEGAN + 300 * np.arange(1, 25),
        history,
        ones(history) * 3600,
        BEGAN - 3600 * np.arange(168)[::-1],
    )
    assert verdict(data, direction="down").verdict is Verdict.FAIL
    assert verdict(data).verdict is Verdict.PASS


def durations(factor: dict[str, float] | None = None) -> Measured:
    """A week of hourly quantiles of 0.2 s, then looks of five minutes."""
    rng = np.random.default_rng(6)
    history, looks = 0.2 * rng.lognormal(0, 0.1, (40, 168)), 0.2 * rng.lognormal(0, 0.3, (40, 24))
    looks *= np.array([(factor or {}).get(name, 1.0) for name in NAMES])[:, None]
    ends, before = BEGAN + 300 * np.arange(1, 25), BEGAN - 3600 * np.arange(168)[::-1]
    return Measured(NAMES, looks * 0, looks, ends, history * 0, history, before)


@pytest.mark.parametrize(("factor", "expected"), [(1.0, Verdict.PASS), (2.0, Verdict.FAIL)])
def test_a_slower_release_fails_on_durations_and_an_equal_one_does_not(factor: float, expected: Verdict) -> None:
    spec = ControlGroupSpec.model_validate({"duration": "p95", "minVolume": 10})
    evidence = evidence_of_durations(durations(dict.fromkeys(TREATED, factor)), members(), 300, 3)
    assert judge(spec, {**evidence, "missing": []}).verdict is expected


def test_durations_say_how_many_more_looks_prove_it_and_how_many_without_harm_refute_it() -> None:
    spec = ControlGroupSpec.model_validate({"duration": "p95", "minVolume": 10, "alpha": 1e-60})
    needs = {}
    for factor in (1.4, 1.8):
        evidence = evidence_of_durations(durations(dict.fromkeys(TREATED, factor)), members(), 300, 3)
        said = judge(spec, {**evidence, "missing": [], "series": evidence["series"][:6]}).detail
        found = re.fullmatch(r"if it is so, about ([\d,]+) more looks? prove it", said["more"])
        assert found, said
        needs[factor] = int(found[1].replace(",", ""))
        assert re.fullmatch(
            r"without harm, about [\d,]+ more looks? refute a factor of 1.2 or more", said["refuted"]
        ), said
    assert 1 <= needs[1.8] < needs[1.4]


def test_one_tenant_that_is_slow_alone_is_put_before_a_person_too() -> None:
    spec = ControlGroupSpec.model_validate({"duration": "p95", "minVolume": 10})
    evidence = evidence_of_durations(durations({TREATED[2]: 30.0}), members(), 300, 3)
    said = judge(spec, {**evidence, "missing": []})
    assert said.verdict is Verdict.WAIT
    assert said.reason.startswith("t02 alone carries the evidence (")


BOTH = {**COUNTS, "duration": "p95"}


@pytest.mark.parametrize(
    ("failing", "slow", "expected"),
    [(1.0, 1.0, Verdict.PASS), (2.2, 1.0, Verdict.FAIL), (1.0, 2.0, Verdict.FAIL), (2.2, 2.0, Verdict.FAIL)],
)
def test_two_measures_of_the_same_tenants_are_worth_their_mean_whichever_shows_the_harm(
    failing: float, slow: float, expected: Verdict
) -> None:
    spec = ControlGroupSpec.model_validate(BOTH)
    counts = evidence_of_counts(measured(dict.fromkeys(TREATED, failing)), members(), 300, 3)
    slower = evidence_of_durations(durations(dict.fromkeys(TREATED, slow)), members(), 300, 3)
    said = judge(spec, {**counts, "missing": [], "also": slower})
    assert said.verdict is expected
    each = [judge(spec, {**one, "missing": []}).detail["e"] for one in (counts, slower)]
    assert said.detail["e"] == pytest.approx(sum(each) / 2, rel=1e-3)
    assert said.detail["durations"]["e"] == each[1]
    assert "times" in said.reason
    assert " and take " in said.reason


def test_a_second_measure_without_anything_to_compare_is_no_evidence_either_way() -> None:
    spec = ControlGroupSpec.model_validate(BOTH)
    counts = evidence_of_counts(measured(dict.fromkeys(TREATED, 2.2)), members(), 300, 3)
    nothing = evidence_of_durations(durations(), members(untouched=()), 300, 3)
    assert nothing["series"] == []
    said = judge(spec, {**counts, "missing": [], "also": nothing})
    assert said.verdict is Verdict.FAIL
    assert said.detail["durations"]["e"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "body",
    [
        {"bad": "x"},
        {"duration": "x", "bad": "y"},
        {},
        {"duration": "x", "direction": "down"},
        {**COUNTS, "alpha": 0},
        {**COUNTS, "harm": {"least": 2, "usual": 1.5}},
        {**COUNTS, "history": "PT1H"},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ControlGroupSpec.model_validate(body)
