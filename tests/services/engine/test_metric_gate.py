"""The metric gate against a real Prometheus: what it measures, what it can't, and whom it sends back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Never

import pytest

from controlplane.adapters.prometheus import Prometheus
from controlplane.ports.gates import MetricsError
from tests.contract.fleets import until_read
from tests.plugins.prometheus import Scraped

from .conftest import Stage

ERRORS = 'shop_errors_ratio{{tenant="{tenant}"}} {value}\n'


def page(**ratios: float) -> str:
    return "# TYPE shop_errors_ratio gauge\n" + "".join(ERRORS.format(tenant=t, value=v) for t, v in ratios.items())


@pytest.fixture
async def metrics(prometheus: Scraped) -> AsyncIterator[Prometheus]:
    client = Prometheus(prometheus.url)
    yield client
    await client.close()


async def test_a_query_gives_one_value_per_tenant_with_its_time(prometheus: Scraped, metrics: Prometheus) -> None:
    prometheus.page = page(a=0.001, b=0.04)
    await prometheus.sees("shop_errors_ratio")
    found = await metrics.query("shop_errors_ratio", datetime.now(UTC))
    assert {one.labels["tenant"]: one.value for one in found} == {"a": 0.001, "b": 0.04}
    assert all(abs((one.at - datetime.now(UTC)).total_seconds()) < 30 for one in found)
    assert [one.value for one in await metrics.query("scalar(vector(7))", datetime.now(UTC))] == [7.0]


@pytest.mark.parametrize(("query", "why"), [("up[5m]", "matrix"), ("sum(", "400"), ('"text"', "string")])
async def test_what_is_no_instant_vector_is_said_and_never_taken_for_a_measurement(
    metrics: Prometheus, query: str, why: str
) -> None:
    with pytest.raises(MetricsError, match=why):
        await metrics.query(query, datetime.now(UTC))


async def test_a_source_that_is_away_is_said(prometheus: Scraped, metrics: Prometheus) -> None:
    prometheus.child.kill()
    prometheus.child.process.wait(10)
    with pytest.raises(MetricsError, match="did not answer"):
        await metrics.query("up", datetime.now(UTC))


async def test_a_bad_signal_during_the_wave_sends_back_the_tenant_it_names_and_stops_the_rollout(
    stage: Stage, prometheus: Scraped
) -> None:
    gate: dict[str, Any] = {
        "metric": {
            "query": 'max by (tenant) (shop_errors_ratio{tenant=~"{tenants}"})',
            "max": 0.01,
            "interval": "PT0.5S",
            "samples": 1,
        }
    }
    wave = {"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT1H", "samples": 1}}
    stage.rows.config("strategies", "measured", {"waves": [wave], "during": [gate], "limits": {"inFlight": 2}})
    plain = {**wave, "soak": {"for": "PT0S", "samples": 1}}
    stage.rows.config("strategies", "plain", {"waves": [plain]})
    stage.rows.release("1.0")
    await stage.tenants(["a", "b", "c"])
    assert await stage.over(await stage.start("1.0", "plain")) == "succeeded"
    prometheus.page = page(a=0.001, b=0.002, c=0.0)
    await prometheus.sees("shop_errors_ratio")
    stage.metrics_url = prometheus.url
    stage.rows.release("2.0")
    rollout = await stage.start("2.0", "measured")

    async def both_soak() -> bool:
        return list(stage.targets(rollout).values()).count("soak") == 2

    await until_read(both_soak)
    prometheus.page = page(a=0.001, b=0.4, c=0.0)

    async def judged() -> bool:
        return stage.targets(rollout)["b"] == "rolledBack"

    await until_read(judged)
    assert stage.targets(rollout) == {"a": "soak", "b": "rolledBack", "c": "cancelled"}
    said = stage.rows.ask("select verdict, reason, evidence->>'query' from gates where rollout_id = %s", rollout)[0]
    assert said[:2] == ("fail", "0.4 > 0.01 (b)")
    assert "a|b" in said[2]
    assert stage.rows.ask("select version from holds") == [("2.0",)]
    await stage.command(rollout, "abort", inFlight="rollBack")
    assert await stage.over(rollout) == "aborted"
    assert stage.targets(rollout) == {"a": "rolledBack", "b": "rolledBack", "c": "cancelled"}


def watched(soak: str, **gate: Any) -> dict[str, Any]:
    """A strategy of one wave, watched by a gate that takes one good look."""
    metric = {"query": 'max by (tenant) (shop_errors_ratio{tenant=~"{tenants}"})', "max": 0.01, "interval": "PT0.2S"}
    wave = {"name": "all", "cut": {"percent": "100%"}, "soak": {"for": soak, "samples": 1}}
    return {"waves": [wave], "during": [{"metric": {**metric, "samples": 1, **gate}}], "limits": {"inFlight": 5}}


async def test_a_wave_without_data_is_not_done_until_there_is_some(stage: Stage, prometheus: Scraped) -> None:
    stage.rows.config("strategies", "watched", watched("PT0S"))
    stage.rows.release("1.0")
    await stage.tenants(["a", "b"])
    stage.metrics_url = prometheus.url
    rollout = await stage.start("1.0", "watched")

    async def held() -> bool:
        return stage.rows.ask("select state from waves where rollout_id = %s", rollout) == [("judging",)]

    await until_read(held)
    assert set(stage.targets(rollout).values()) == {"verified"}
    said = stage.rows.ask("select verdict, reason from gates where rollout_id = %s", rollout)
    assert said == [("unknown", "the query gives no series")]
    prometheus.page = page(a=0.001, b=0.002)
    assert await stage.over(rollout) == "succeeded"


async def test_a_wave_that_stays_unmeasured_longer_than_its_spec_bears_fails(stage: Stage, prometheus: Scraped) -> None:
    stage.rows.config("strategies", "watched", watched("PT0S", unknown={"seconds": 1, "then": "fail"}))
    stage.rows.release("1.0")
    await stage.tenants(["a"])
    stage.metrics_url = prometheus.url
    rollout = await stage.start("1.0", "watched")
    assert await stage.over(rollout) == "failed"
    said = stage.rows.ask("select verdict, reason from gates where rollout_id = %s", rollout)
    assert said == [("unknown", "the query gives no series")]
    failed = stage.rows.ask("select detail->>'code', detail->>'reason' from waves where rollout_id = %s", rollout)
    assert failed == [("gate-failed", "gate metric: the query gives no series")]


@pytest.mark.parametrize("place", ["metric.read", "metric.MetricGate.interval"])
async def test_a_gate_with_a_fault_of_its_own_holds_and_says_so_and_the_rollout_goes_on_being_driven(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def broken(*_: object) -> Never:
        raise KeyError("values")

    monkeypatch.setattr(f"controlplane.gates.{place}", broken)
    stage.rows.config("strategies", "watched", watched("PT0S"))
    stage.rows.release("1.0")
    await stage.tenants(["a"])
    rollout = await stage.start("1.0", "watched")

    async def held() -> list[Any]:
        return stage.rows.ask("select reason from gates where rollout_id = %s and verdict = 'unknown'", rollout)

    said = (await until_read(held))[0][0]
    assert said == "could not measure: something went wrong inside Seawall; the log of the worker says what"
    assert stage.state(rollout) == "running"
    await stage.command(rollout, "abort", inFlight="rollBack")
    await stage.over(rollout)


async def test_who_turns_bad_after_the_wave_has_failed_goes_back_too(stage: Stage, prometheus: Scraped) -> None:
    stage.rows.config("strategies", "watched", watched("PT1H"))
    stage.rows.config("strategies", "plain", {"waves": watched("PT0S")["waves"], "limits": {"inFlight": 5}})
    stage.rows.release("1.0")
    stage.rows.release("2.0")
    await stage.tenants(["a", "b", "c"])
    assert await stage.over(await stage.start("1.0", "plain")) == "succeeded"
    prometheus.page = page(a=0.001, b=0.002, c=0.001)
    await prometheus.sees("shop_errors_ratio")
    stage.metrics_url = prometheus.url
    rollout = await stage.start("2.0", "watched")

    async def all_are(states: dict[str, str]) -> bool:
        return stage.targets(rollout) == states

    await until_read(lambda: all_are(dict.fromkeys("abc", "soak")))
    prometheus.page = page(a=0.001, b=0.4, c=0.001)
    await until_read(lambda: all_are({"a": "soak", "b": "rolledBack", "c": "soak"}))
    prometheus.page = page(a=0.001, b=0.0, c=0.3)
    await until_read(lambda: all_are({"a": "soak", "b": "rolledBack", "c": "rolledBack"}))
    stopped = stage.rows.ask("select verdict, reason from gates where rollout_id = %s", rollout)
    assert stopped == [("fail", "0.3 > 0.01 (c)")]
    await stage.command(rollout, "abort", inFlight="rollBack")
    await stage.over(rollout)
    assert stage.targets(rollout)["a"] == "rolledBack"


async def test_a_burning_error_budget_holds_the_start_until_it_burns_no_more(stage: Stage, prometheus: Scraped) -> None:
    errors = iter(range(0, 10_000, 5))
    requests = iter(range(0, 100_000, 50))
    ill = True
    stuck = 0

    def counters() -> str:
        nonlocal stuck
        stuck = next(errors) if ill else stuck
        return f"# TYPE requests_total counter\nrequests_total {next(requests)}\n# TYPE errors_total counter\nerrors_total {stuck}\n"

    prometheus.page = counters
    gate = {
        "query": "rate(errors_total[{window}]) / rate(requests_total[{window}])",
        "objective": "99%",
        "pairs": [{"long": "PT20S", "short": "PT3S", "rate": 2}],
        "interval": "PT0.2S",
    }
    wave = {**watched("PT0S")["waves"][0], "before": [{"burn-rate": gate}]}
    stage.rows.config("strategies", "calm", {"waves": [wave]})
    stage.rows.release("1.0")
    await stage.tenants(["a"])
    await prometheus.sees("rate(errors_total[3s]) > 0")
    stage.metrics_url = prometheus.url
    rollout = await stage.start("1.0", "calm")

    async def burns() -> bool:
        found = stage.rows.ask("select verdict, reason from gates where rollout_id = %s", rollout)
        return [verdict for verdict, reason in found if "burns" in reason] == ["wait"]

    await until_read(burns)
    assert stage.targets(rollout) == {"a": "pending"}
    ill = False
    assert await stage.over(rollout) == "succeeded"
