"""From what a metric source gave to a verdict in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from controlplane.domain.gating import Judged, Verdict
from controlplane.gates.control_group.sides import Measured, Members, evidence_of_counts, evidence_of_durations
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


def test_a_slower_release_fails_on_durations_and_an_equal_one_does_not() -> None:
    rng = np.random.default_rng(6)
    history, looks = 0.2 * rng.lognormal(0, 0.1, (40, 168)), 0.2 * rng.lognormal(0, 0.3, (40, 24))
    spec = ControlGroupSpec.model_validate({"duration": "p95", "minVolume": 10})
    for factor, expected in ((1.0, Verdict.PASS), (2.0, Verdict.FAIL)):
        slow = looks.copy()
        slow[:4] *= factor
        ends, before = BEGAN + 300 * np.arange(1, 25), BEGAN - 3600 * np.arange(168)[::-1]
        data = Measured(NAMES, slow * 0, slow, ends, history * 0, history, before)
        evidence = {**evidence_of_durations(data, members(), 300, 3), "missing": []}
        assert judge(spec, evidence).verdict is expected, factor


@pytest.mark.parametrize(
    "body",
    [
        {"bad": "x"},
        {"duration": "x", "bad": "y", "volume": "z"},
        {"duration": "x", "direction": "down"},
        {**COUNTS, "alpha": 0},
        {**COUNTS, "harm": {"least": 2, "usual": 1.5}},
        {**COUNTS, "history": "PT1H"},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ControlGroupSpec.model_validate(body)
