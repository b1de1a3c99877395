"""The metric gate against a real Prometheus: what it measures, what it can't, and whom it sends back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

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
