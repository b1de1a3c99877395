"""Queries asked together of a real Prometheus, and of sources in trouble: each gets its own answer or its own error."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from controlplane.adapters.prometheus import Prometheus, client
from controlplane.adapters.prometheus.joining import AT_ONCE, MARK
from controlplane.ports.gates import MetricsError, Series
from tests.plugins.prometheus import PrometheusServer
from tests.support.otlp import Written, write
from tests.support.query_api import QueryApi, always, query_api, vector

NOW = datetime.now(UTC).replace(microsecond=0)
STALE = timedelta(minutes=2)
type Answer = list[tuple[tuple[tuple[str, str], ...], str, datetime]] | str


async def answer(asked: Awaitable[Sequence[Series]]) -> Answer:
    """What a query gave, comparable: NaN equals NaN."""
    try:
        return sorted((tuple(sorted(one.labels.items())), repr(one.value), one.at) for one in await asked)
    except MetricsError as error:
        return str(error)


async def together(source: Prometheus, queries: Sequence[str]) -> list[Answer]:
    return await asyncio.gather(*(answer(source.query(one, NOW, STALE)) for one in queries))


async def alone(source: Prometheus, queries: Sequence[str]) -> list[Answer]:
    return [await answer(source.query(one, NOW, STALE)) for one in queries]


@pytest.fixture
async def source(metric_store: PrometheusServer) -> AsyncIterator[Prometheus]:
    made = Prometheus(metric_store.url)
    yield made
    await made.close()


@pytest.fixture
async def api() -> AsyncIterator[QueryApi]:
    async with query_api() as running:
        yield running


def fill(url: str, name: str) -> None:
    """Tenants a, b (NaN), c (last seen five minutes ago), and two series of d."""
    fresh = [(NOW - timedelta(seconds=ago), 0.5) for ago in (60, 30, 0)]
    write(
        url,
        [
            Written(name, fresh, {"tenant": "a"}),
            Written(name, [(at, math.nan) for at, _ in fresh], {"tenant": "b"}),
            Written(name, [(NOW - timedelta(minutes=5), 0.5)], {"tenant": "c"}),
            Written(name, fresh, {"tenant": "d", "pod": "1"}),
            Written(name, fresh, {"tenant": "d", "pod": "2"}),
        ],
    )


def queries_of(name: str) -> list[str]:
    """Of every kind, good and bad; enough that they are joined."""
    kinds = [
        name,
        f'{name}{{tenant=~"a|b"}}',
        f'max by (tenant) ({name}{{tenant=~"a|b|c|d"}})',
        f"sum({name})",
        f'{name}{{tenant="c"}}',
        f'{name}{{tenant="nobody"}}',
        f"{name}[5m]",
        "1",
        f"scalar({name})",
        f"vector(time()) or {name}",
        f"{name} / on (tenant) {name}",
        f"{name} +",
        f"{name}) or vector(1",
        f'{name}) or label_replace(vector(9), "{MARK}", "0", "", ""',
        f"{name} # all of it",
        f'label_replace({name}{{tenant="a"}}, "{MARK}", "0", "", "")',
        f"nothing_{name} == 1",
    ]
    return kinds + [f'{name}{{tenant="a"}} * {n}' for n in range(2 * AT_ONCE)]


async def test_joined_and_alone_give_equal_answers_and_errors(
    metric_store: PrometheusServer, source: Prometheus
) -> None:
    fill(metric_store.url, "share_together")
    queries = queries_of("share_together")
    expected = [_unmarked(one) for one in await alone(source, queries)]
    assert any(isinstance(one, str) for one in expected)
    assert any(isinstance(one, list) and one for one in expected)
    for _ in range(2):  # the second time those that can't be joined are known
        assert list(map(_unmarked, await together(source, queries))) == expected


def _unmarked(found: Answer) -> Answer:
    """Without our own mark, which a query of a strategy has no business with."""
    if isinstance(found, str):
        return found
    return [(tuple(pair for pair in labels if pair[0] != MARK), value, at) for labels, value, at in found]


@pytest.mark.parametrize("status", [400, 413, 422, 503])
async def test_one_bad_query_costs_the_others_one_look_apart_and_then_nothing(api: QueryApi, status: int) -> None:
    """A query that fails what it is joined with is asked alone from then on."""

    async def refuses_bad(_request: web.Request) -> web.Response:
        query = api.forms[-1]["query"]
        if "bad" in query:
            return web.json_response({"status": "error", "error": "bad"}, status=status)
        marks: list[dict[str, str]] = [{MARK: str(n)} for n in range(query.count(MARK))] or [{}]
        result = [{"metric": mark | {"tenant": "a"}, "value": [1.0, "1"]} for mark in marks]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    api.answer = refuses_bad
    source = Prometheus(api.url)
    queries = ["bad", *(f"good{n}" for n in range(2 * AT_ONCE - 1))]
    for requests in (AT_ONCE + 2, AT_ONCE + 1):
        api.forms.clear()
        found = await together(source, queries)
        assert found[0] == f"the metric source answered {status}: bad"
        assert all(isinstance(one, list) and len(one) == 1 for one in found[1:])
        assert len(api.forms) == requests
    await source.close()


async def test_queries_that_are_too_much_together_are_asked_alone_from_then_on(
    api: QueryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LARGEST_ANSWER", 500)

    async def long_when_joined(_request: web.Request) -> web.Response:
        joined = MARK in api.forms[-1]["query"]
        return web.Response(body=b" " * 600) if joined else vector(a="1")

    api.answer = long_when_joined
    source = Prometheus(api.url)
    queries = [f"q{n}" for n in range(2 * AT_ONCE)]
    for requests in (3 * AT_ONCE, 2 * AT_ONCE):
        api.forms.clear()
        assert all(isinstance(one, list) for one in await together(source, queries))
        assert len(api.forms) == requests
    await source.close()


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_an_answer_that_is_about_us_is_everybodys_and_nobody_asks_again(api: QueryApi, status: int) -> None:
    api.answer = always(lambda: web.json_response({"status": "error", "error": "no"}, status=status))
    source = Prometheus(api.url)
    found = await together(source, [f"q{n}" for n in range(2 * AT_ONCE)])
    assert set(map(str, found)) == {f"the metric source answered {status}: no"}
    assert len(api.forms) == AT_ONCE
    await source.close()


async def test_a_slow_joined_query_leaves_each_its_own_time(api: QueryApi) -> None:
    never = asyncio.Event()

    async def slow_when_joined(_request: web.Request) -> web.StreamResponse:
        if MARK in api.forms[-1]["query"]:
            await never.wait()
        return vector(a="1")

    api.answer = slow_when_joined
    source = Prometheus(api.url, timeout=0.5)
    found = await together(source, [f"q{n}" for n in range(2 * AT_ONCE)])
    assert all(isinstance(one, list) for one in found)
    never.set()
    await source.close()


async def test_who_stops_waiting_takes_nobody_along(api: QueryApi) -> None:
    api.answer = always(lambda: vector(a="1"))
    source = Prometheus(api.url)
    gone, stays = (asyncio.create_task(answer(source.query("q", NOW, STALE))) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert isinstance(await stays, list)
    assert gone.cancelled()
    await source.close()


async def test_who_waits_while_the_source_is_closed_is_told(api: QueryApi) -> None:
    arrived, never = asyncio.Event(), asyncio.Event()

    async def hangs(_request: web.Request) -> web.StreamResponse:
        arrived.set()
        await never.wait()
        return vector(a="1")

    api.answer = hangs
    source = Prometheus(api.url)
    waiting = asyncio.create_task(answer(source.query("q", NOW, STALE)))
    await arrived.wait()
    await source.close()
    assert await waiting == "the metric source is not asked any more"
    never.set()


async def test_moments_apart_are_asked_apart_and_near_ones_for_the_latest(api: QueryApi) -> None:
    api.answer = always(lambda: vector(a="1"))
    source = Prometheus(api.url)
    moments = [NOW, NOW + timedelta(milliseconds=60), NOW + timedelta(seconds=1)]
    await asyncio.gather(*(answer(source.query("q", at, STALE)) for at in moments))
    asked = sorted(float(form["time"]) - NOW.timestamp() for form in api.forms)
    assert asked == pytest.approx([0.06, 1.0], abs=0.001)
    await source.close()
