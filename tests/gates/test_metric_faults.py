"""What a metric gate makes of series and sources in a bad way: each is unknown with a reason, none is health."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from controlplane.adapters.embedded.processes import free_port
from controlplane.adapters.prometheus import SKEW, Prometheus
from controlplane.domain.gating import Judged, Verdict
from controlplane.gates.metric import MetricGate, MetricSpec
from controlplane.ports.gates import Metrics
from tests.contract.fleets import until_read
from tests.gates.scenes import ports, scene
from tests.plugins.prometheus import PrometheusServer
from tests.support.otlp import Written, write
from tests.support.query_api import QueryApi, always, query_api, vector

NOW = datetime.now(UTC).replace(microsecond=0)
GATE = MetricGate()


@pytest.fixture
async def metrics(metric_store: PrometheusServer) -> AsyncIterator[Prometheus]:
    client = Prometheus(metric_store.url)
    yield client
    await client.close()


async def look(source: Metrics | None, query: str, *asked: str, now: datetime = NOW, **more: Any) -> Judged:
    """One look, of a gate that one good look passes."""
    spec = MetricSpec.model_validate({"query": query, "max": 0.01, "samples": 1, **more})
    here = scene(*asked, now=now)
    return GATE.judge(spec, here, await GATE.observe(spec, here, ports(source)))


def points(value: float, *seconds_ago: int) -> list[tuple[datetime, float | None]]:
    return [(NOW - timedelta(seconds=ago), value) for ago in sorted(seconds_ago, reverse=True)]


BY_TENANT = 'max by (tenant) ({name}{{tenant=~"{{tenants}}"}})'
RECENT = (60, 45, 30, 15, 0)


def of(name: str, tenant: str, values: Sequence[tuple[datetime, float | None]], **labels: str) -> Written:
    return Written(name, values, {"tenant": tenant, **labels})


CASES: dict[str, tuple[Callable[[str], list[Written]], str, str]] = {
    "empty": (lambda _n: [], BY_TENANT, "the query gives no series"),
    "nan": (
        lambda n: [of(n, "a", points(0.0, *RECENT)), of(n, "b", points(math.nan, *RECENT))],
        "{name}",
        "1 of 2 samples are NaN or too old",
    ),
    "infinite": (
        lambda n: [of(n, "a", points(0.0, *RECENT)), of(n, "b", points(1.0, *RECENT))],
        "{name} / ({name} - 1)",
        "1 of 2 samples are NaN or too old",
    ),
    "stale": (
        lambda n: [of(n, "a", points(0.0, *RECENT)), of(n, "b", points(0.0, 240, 180, 121))],
        "{name}",
        "no series of b",
    ),
    "ended": (
        lambda n: [
            of(n, "a", points(0.0, *RECENT)),
            of(n, "b", [*points(0.0, 60, 45), (NOW - timedelta(seconds=30), None)]),
        ],
        "{name}",
        "no series of b",
    ),
    "duplicated": (
        lambda n: [of(n, t, points(0.0, *RECENT), pod=p) for t, p in (("a", "1"), ("a", "2"), ("b", "1"))],
        "{name}",
        "the query gives several series of a",
    ),
    "duplicated in a join": (
        lambda n: [of(n, t, points(0.0, *RECENT), pod=p) for t, p in (("a", "1"), ("a", "2"), ("b", "1"))],
        "{name} * on (tenant) {name}",
        "could not measure: the metric source answered 422",
    ),
    "two series": (
        lambda n: [Written(n, points(0.0, *RECENT), {"pod": p}) for p in "12"],
        "{name}",
        "the query gives 2 series that no tenant or namespace label tells apart",
    ),
    "a matrix": (
        lambda n: [of(n, "a", points(0.0, *RECENT))],
        "{name}[5m]",
        "could not measure: the query gives a matrix, not an instant vector",
    ),
    "no PromQL": (lambda _n: [], "sum by (", "could not measure: the metric source answered 400"),
}


@pytest.mark.parametrize("case", list(CASES))
async def test_series_in_a_bad_way_are_unknown(case: str, metric_store: PrometheusServer, metrics: Prometheus) -> None:
    series, query, why = CASES[case]
    name = f"fault_{case.replace(' ', '_')}"
    if written := series(name):
        write(metric_store.url, written)
    said = await look(metrics, query.format(name=name), "a", "b")
    assert said.verdict is Verdict.UNKNOWN, said
    assert said.reason.startswith(why)


async def test_series_that_come_late_count_from_when_they_are_there(
    metric_store: PrometheusServer, metrics: Prometheus
) -> None:
    write(metric_store.url, [of("fault_late", "a", points(0.0, *RECENT))])
    assert (await look(metrics, "fault_late", "a", "b")).reason == "no series of b"
    write(metric_store.url, [of("fault_late", "b", points(0.5, *RECENT))])
    said = await look(metrics, "fault_late", "a", "b")
    assert (said.verdict, said.tenants) == (Verdict.FAIL, ("b",))


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(hours=1)])
async def test_when_a_clock_has_jumped_what_was_is_not_taken_for_what_is(
    jump: timedelta, metric_store: PrometheusServer
) -> None:
    source = Prometheus(metric_store.url, skew=SKEW)
    now = datetime.now(UTC)
    hours = [(now - timedelta(minutes=m), 0.0) for m in range(90, -1, -1)]
    name = f"fault_jump_{'back' if jump < timedelta(0) else 'ahead'}"
    write(metric_store.url, [of(name, "a", hours)])
    assert (await look(source, name, "a", now=datetime.now(UTC))).verdict is Verdict.PASS
    said = await look(source, name, "a", now=datetime.now(UTC) + jump)
    assert said.verdict is Verdict.UNKNOWN
    assert "clock is" in said.reason
    await source.close()


@pytest.fixture
async def api() -> AsyncIterator[QueryApi]:
    async with query_api() as running:
        yield running


async def _hang(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody waits so long")


TROUBLE: dict[str, tuple[Any, str]] = {
    "down": (None, "did not answer (ClientConnectorError)"),
    "slow": (_hang, "did not answer within 0.5 s"),
    "422": (
        always(lambda: web.json_response({"status": "error", "error": "too many samples"}, status=422)),
        "422: too many samples",
    ),
    "503": (always(lambda: web.Response(status=503, text="no healthy upstream")), "503 and no JSON"),
}


@pytest.mark.parametrize("trouble", list(TROUBLE))
async def test_a_source_in_trouble_is_unknown_and_measures_again_afterwards(trouble: str, api: QueryApi) -> None:
    answer, why = TROUBLE[trouble]
    port = free_port()
    source = Prometheus(api.url if answer else f"http://127.0.0.1:{port}", timeout=0.5)
    api.answer = answer or api.answer
    said = await look(source, "q", "a", now=datetime.now(UTC))
    assert said.verdict is Verdict.UNKNOWN
    assert why in said.reason
    api.answer = always(lambda: vector(a="0.001"))

    async def measured() -> bool:
        return (await look(source, "q", "a", now=datetime.now(UTC))).verdict is Verdict.PASS

    async with contextlib.AsyncExitStack() as back:
        if answer is None:
            again = await back.enter_async_context(query_api(port=port))
            again.answer = api.answer
        await until_read(measured)
    await source.close()


async def test_a_gate_asks_the_source_it_names(api: QueryApi) -> None:
    spec = MetricSpec.model_validate({"query": "q", "max": 1, "source": "azure", "samples": 1})
    here = scene("a", now=datetime.now(UTC))
    unnamed = await GATE.observe(spec, here, ports(None))
    assert GATE.judge(spec, here, unnamed).reason == "could not measure: no metric source azure is configured"
    api.answer = always(lambda: vector(a="0.001"))
    source = Prometheus(api.url)
    assert GATE.judge(spec, here, await GATE.observe(spec, here, ports(None, azure=source))).verdict is Verdict.PASS
    await source.close()
