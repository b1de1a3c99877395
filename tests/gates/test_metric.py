"""How a metric gate reads its looks: good, bad, inconclusive and unknown are four things, and each has a limit of its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from controlplane.domain.gating import Judged, Verdict
from controlplane.gates.metric import MetricGate, MetricSpec
from tests.gates.scenes import NOW, scene

GATE = MetricGate()


def spec(**changes: Any) -> MetricSpec:
    return MetricSpec.model_validate({"query": "q", "max": 0.01, "samples": 2, **changes})


def evidence(
    values: dict[str, float | None], *looks: str, asked: str = "", events: dict[str, float] | None = None
) -> dict[str, Any]:
    """An answer per tenant; `asked`: of whom, by one letter each (by default whoever answered)."""
    of = [{"tenant": t, "value": v, "at": NOW.isoformat()} for t, v in values.items()]
    counted = {
        "volume": {"values": [{"tenant": t, "value": n, "at": NOW.isoformat()} for t, n in (events or {}).items()]}
    }
    return {
        "values": of,
        "asked": list(asked or values),
        "looks": list(looks),
        **(counted if events is not None else {}),
    }


def judged(found: MetricSpec, seen: dict[str, Any]) -> Judged:
    return GATE.judge(found, scene(*seen["asked"]), seen)


def test_a_tenant_without_a_series_is_not_measured_unless_the_quiet_are_skipped() -> None:
    said = judged(spec(), evidence({"a": 0.0}, "good", asked="ab"))
    assert (said.verdict, said.reason) == (Verdict.UNKNOWN, "no series of b")
    assert judged(spec(quiet="skip"), evidence({"a": 0.0}, "good", asked="ab")).verdict is Verdict.PASS
    assert judged(spec(quiet="skip"), evidence({}, "good", asked="ab")).verdict is Verdict.UNKNOWN


def test_a_bad_tenant_is_bad_whatever_can_not_be_measured_elsewhere() -> None:
    said = judged(spec(), evidence({"a": 0.4, "b": None}, asked="abc"))
    assert (said.verdict, said.tenants) == (Verdict.FAIL, ("a",))


def test_the_one_value_for_all_asks_nobody_by_name() -> None:
    said = judged(spec(), evidence({"": 0.4}, asked="ab"))
    assert (said.verdict, said.tenants) == (Verdict.FAIL, ())


def test_too_few_events_are_inconclusive_and_hold_after_their_limit() -> None:
    few = spec(volume={"query": "n", "min": 100}, inconclusive={"looks": 3})
    seen: dict[str, Any] = {"values": {"a": 0.5, "b": 0.0}, "asked": "ab", "events": {"a": 12, "b": 400}}
    said = judged(few, evidence(**seen))
    assert said.verdict is Verdict.WAIT
    assert said.reason.startswith("too few events: a has 12 of 100")
    assert said.look == "inconclusive"
    third = judged(few, evidence(seen["values"], "inconclusive", "inconclusive", asked="ab", events=seen["events"]))
    assert third.verdict is Verdict.UNKNOWN
    failing = spec(volume={"query": "n", "min": 100}, inconclusive={"looks": 1, "then": "fail"})
    assert judged(failing, evidence(**seen)).verdict is Verdict.FAIL
    skipping = spec(volume={"query": "n", "min": 100}, quiet="skip", samples=1)
    assert judged(skipping, evidence(**seen)).verdict is Verdict.PASS


def test_events_that_could_not_be_counted_are_unknown() -> None:
    seen = evidence({"a": 0.0}, events={})
    seen["volume"]["error"] = "503"
    assert judged(spec(volume={"query": "n", "min": 1}), seen).reason == "could not count events: 503"


def test_between_clear_and_the_threshold_it_says_neither() -> None:
    said = judged(spec(clear=0.005), evidence({"a": 0.007}))
    assert (said.verdict, said.look) == (Verdict.WAIT, "inconclusive")
    assert judged(spec(clear=0.005), evidence({"a": 0.004}, "good")).verdict is Verdict.PASS
    low = spec(max=None, min=0.5, clear=0.8)
    assert judged(low, evidence({"a": 0.7})).look == "inconclusive"
    assert judged(low, evidence({"a": 0.4})).verdict is Verdict.FAIL
    assert judged(low, evidence({"a": 0.9}, "good")).verdict is Verdict.PASS


def test_bad_looks_in_a_row_are_counted_for_each_tenant() -> None:
    patient = spec(failures=2)
    assert judged(patient, evidence({"a": 0.4, "b": 0.0}, "bad b")).verdict is Verdict.WAIT
    said = judged(patient, evidence({"a": 0.4, "b": 0.2}, "bad b"))
    assert (said.verdict, said.tenants) == (Verdict.FAIL, ("b",))
    assert judged(patient, evidence({"a": 0.4}, "bad a", "good")).verdict is Verdict.WAIT


def test_bad_looks_in_all_have_a_limit_too() -> None:
    flapping = spec(failures=2, failuresInAll=3)
    said = judged(flapping, evidence({"a": 0.4}, "bad a", "good", "bad a", "good"))
    assert (said.verdict, said.tenants) == (Verdict.FAIL, ("a",))


def test_looks_that_could_not_measure_fail_only_where_the_spec_says_so() -> None:
    seen = {"values": [], "error": "503", "asked": ["a"], "looks": ["unknown"] * 9}
    assert judged(spec(), seen).verdict is Verdict.UNKNOWN
    assert judged(spec(unknown={"looks": 10, "then": "fail"}), seen).verdict is Verdict.FAIL
    assert judged(spec(unknown={"looks": 11, "then": "fail"}), seen).verdict is Verdict.UNKNOWN


def test_of_a_large_wave_the_worst_values_are_kept_with_the_verdict() -> None:
    values: dict[str, float | None] = {"ill": 0.4, "nan": None, **{f"t{n:04}": n / 1e6 for n in range(3000)}}
    seen = evidence({}, *["good"] * 900) | {"query": "q" * 50_000, "asked": sorted(values)}
    seen["values"] = [{"tenant": t, "value": v, "at": NOW.isoformat()} for t, v in values.items()]
    seen["volume"] = {"values": [{"tenant": t, "value": 7.0, "at": NOW.isoformat()} for t in values]}
    kept = GATE.shown(spec(), seen)
    assert [one["tenant"] for one in kept["values"][:3]] == ["nan", "ill", "t2999"]
    assert (kept["of"], len(kept["values"]), len(kept["looks"]), len(kept["events"])) == (3002, 50, 50, 50)
    assert len(str(kept)) < 20_000
    low = GATE.shown(spec(max=None, min=0.5), seen)
    assert [one["tenant"] for one in low["values"][:2]] == ["nan", "t0000"]


@given(
    values=st.dictionaries(st.sampled_from("abc"), st.none() | st.floats(0, 1), max_size=3),
    looks=st.lists(st.sampled_from(["good", "bad a", "inconclusive", "unknown"]), max_size=6),
    skip=st.booleans(),
)
def test_it_passes_only_on_enough_good_looks_over_values_that_are_all_within_the_limit(
    values: dict[str, float | None], looks: list[str], skip: bool
) -> None:
    found = spec(quiet="skip" if skip else "hold")
    said = judged(found, evidence(values, *looks, asked="abc"))
    usable = [value for value in values.values() if value is not None]
    if said.verdict is Verdict.PASS:
        assert usable
        assert max(usable) <= 0.01
        assert looks[-1:] == ["good"]
        assert skip or set(values) == set("abc")
    if said.verdict is Verdict.FAIL:
        assert set(said.tenants) == {t for t, value in values.items() if value is not None and value > 0.01}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"max": 1}, "exactly one of use"),
        ({"query": "q", "use": "traefik-5xx", "max": 1}, "exactly one of use"),
        ({"use": "traefik-6xx"}, "there is no named query traefik-6xx"),
        ({"query": "q"}, "exactly one of max and min"),
        ({"query": "q", "max": 1, "min": 0}, "not both"),
        ({"use": "orders", "max": 2}, "bad below"),
        ({"query": 'x{t=~"{tenant}"}', "max": 1}, r"nothing fills \{tenant\}"),
        ({"use": "traefik-5xx", "with": {"deployment": "web"}}, "has no deployment"),
        ({"query": "q", "max": 1, "volume": {"min": 5}}, "volume needs a query"),
        ({"query": "q", "max": 1, "clear": 2}, "bad side"),
        ({"query": "q", "max": 1, "interval": "PT0S"}, "at least"),
        ({"query": "q", "max": 1, "colour": "red"}, "Extra inputs"),
        ({"query": "q" * 4001, "max": 1}, "at most 4000"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(body: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        MetricSpec.model_validate(body)


def test_the_strategy_body_of_the_documentation_reads_as_written() -> None:
    found = MetricSpec.model_validate({"use": "traefik-5xx", "max": 0.01})
    assert (found.threshold, found.limit, found.least_volume) == (0.01, "> 0.01", 20)
    assert "traefik_service_requests_total" in found.text
