"""How fast an error budget burns: judged in pairs of windows, and measured by a real Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from controlplane.adapters.prometheus import Prometheus
from controlplane.domain.gating import Judged, Verdict
from controlplane.gates.burn_rate import BurnRateGate, BurnRateSpec
from tests.gates.scenes import NOW, ports, scene
from tests.plugins.prometheus import PrometheusServer
from tests.support.otlp import Written, write

SPEC = BurnRateSpec.model_validate({"query": "bad[{window}]", "objective": "99.9%"})
GATE = BurnRateGate()


def measured(**shares: dict[str, float | None] | str) -> dict[str, Any]:
    """Shares of bad events by window (`5m` as `w5m`), each by tenant; a text is an error."""
    windows = {
        name[1:]: {"error": found, "values": []}
        if isinstance(found, str)
        else {"values": [{"tenant": t, "value": v, "at": NOW.isoformat()} for t, v in found.items()]}
        for name, found in shares.items()
    }
    return {"windows": windows, "asked": ["a", "b"]}


def judged(evidence: dict[str, Any], place: str = "during", spec: BurnRateSpec = SPEC) -> Judged:
    return GATE.judge(spec, scene("a", "b", place=place), evidence)


CALM: dict[str, float | None] = {"a": 0.0001, "b": 0.0005}
BURNS: dict[str, float | None] = {"a": 0.0001, "b": 0.02}


def test_both_windows_of_a_pair_over_fail_during_a_wave_and_name_the_tenant() -> None:
    said = judged(measured(w5m=BURNS, w30m=CALM, w1h=BURNS, w6h=CALM))
    assert said.verdict is Verdict.FAIL
    assert said.tenants == ("b",)
    assert said.reason == ("the error budget of b burns 20 times as fast as 99.9% allows, over 1h and 5m (limit 14.4)")


def test_before_a_wave_it_holds_the_start_unless_the_spec_says_fail() -> None:
    evidence = measured(w5m=BURNS, w30m=CALM, w1h=BURNS, w6h=CALM)
    assert judged(evidence, "before").verdict is Verdict.WAIT
    strict = BurnRateSpec.model_validate({"query": "bad[{window}]", "objective": "99.9%", "over": "fail"})
    assert judged(evidence, "before", strict).verdict is Verdict.FAIL


@pytest.mark.parametrize("over", [("w5m",), ("w1h",), ("w6h",), ("w30m",), ("w5m", "w30m")])
def test_one_window_of_each_pair_alone_is_not_over(over: tuple[str, ...]) -> None:
    windows: dict[str, Any] = {name: BURNS if name in over else CALM for name in ("w5m", "w30m", "w1h", "w6h")}
    assert judged(measured(**windows)).verdict is Verdict.PASS


def test_the_slow_pair_has_a_limit_of_its_own() -> None:
    slow: dict[str, float | None] = {"a": 0.007, "b": 0.0}
    said = judged(measured(w5m=slow, w30m=slow, w1h=slow, w6h=slow))
    assert (said.verdict, said.tenants) == (Verdict.FAIL, ("a",))
    assert "over 6h and 30m" in said.reason


@pytest.mark.parametrize("lost", ["w5m", "w30m", "w1h", "w6h"])
@pytest.mark.parametrize("how", ["503", {}, {"a": 0.0}, {"a": None, "b": 0.0}, {"": 0.0, "a": 0.0}])
def test_a_window_that_could_not_be_measured_in_full_is_unknown(lost: str, how: Any) -> None:
    windows: dict[str, Any] = dict.fromkeys(("w5m", "w30m", "w1h", "w6h"), CALM)
    said = judged(measured(**{**windows, lost: how}))
    assert said.verdict is Verdict.UNKNOWN, said
    assert said.reason


@given(
    shares=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    more=st.floats(0, 0.5),
)
def test_more_bad_events_never_make_it_better(shares: list[float], more: float) -> None:
    names = ("w5m", "w30m", "w1h", "w6h")
    rank = {Verdict.PASS: 0, Verdict.FAIL: 1}

    def of(extra: float) -> Verdict:
        windows: dict[str, Any] = {n: {"a": s + extra, "b": 0.0} for n, s in zip(names, shares, strict=True)}
        return judged(measured(**windows)).verdict

    assert rank[of(more)] >= rank[of(0.0)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"objective": "100%"}, "no budget"),
        ({"query": "bad[5m]"}, r"no \{window\}"),
        ({"query": None, "use": "queue-depth"}, r"no \{window\}"),
        ({"query": None, "use": "response-time"}, "not a share"),
        ({"pairs": [{"long": "PT5M", "short": "PT1H", "rate": 2}]}, "shorter"),
        ({"objective": "99,9%"}, "percent"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(change: dict[str, Any], why: str) -> None:
    body = {"query": "bad[{window}]", "objective": "99.9%", **change}
    with pytest.raises(ValidationError, match=why):
        BurnRateSpec.model_validate({key: value for key, value in body.items() if value is not None})


@pytest.fixture
async def metrics(metric_store: PrometheusServer) -> AsyncIterator[Prometheus]:
    client = Prometheus(metric_store.url)
    yield client
    await client.close()


async def test_a_real_prometheus_is_asked_for_each_window(metric_store: PrometheusServer, metrics: Prometheus) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    points = [now - timedelta(minutes=n) for n in range(420, -1, -1)]
    bad_since = now - timedelta(minutes=40)
    series = []
    for tenant, ill in (("burn-a", False), ("burn-b", True)):
        service = f"{tenant}-odoo-web-http@kubernetes"
        good = [(t, (t - points[0]).total_seconds()) for t in points]
        bad = [(t, max(0.0, (t - bad_since).total_seconds()) * 0.5) for t in points]
        series.append(Written("traefik_service_requests_total", good, {"service": service, "code": "200"}))
        series += [Written("traefik_service_requests_total", bad, {"service": service, "code": "500"})] if ill else []
    write(metric_store.url, series)
    spec = BurnRateSpec.model_validate({"use": "traefik-5xx", "objective": "99%"})
    here = scene("burn-a", "burn-b", now=now)
    said = GATE.judge(spec, here, await GATE.observe(spec, here, ports(metrics)))
    assert (said.verdict, said.tenants) == (Verdict.FAIL, ("burn-b",)), said
    calm = scene("burn-a", now=now)
    assert GATE.judge(spec, calm, await GATE.observe(spec, calm, ports(metrics))).verdict is Verdict.PASS
