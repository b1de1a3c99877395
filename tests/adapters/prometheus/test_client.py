"""A metric source in trouble: whatever it answers but a measurement is an error that says what it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from controlplane.adapters.prometheus import Prometheus
from controlplane.adapters.prometheus import client as adapter
from controlplane.ports.gates import MetricsError
from tests.support.query_api import QueryApi, always, query_api, vector


@pytest.fixture
async def api() -> AsyncIterator[QueryApi]:
    async with query_api() as running:
        yield running


@pytest.fixture
async def source(api: QueryApi) -> AsyncIterator[Prometheus]:
    made = Prometheus(api.url, timeout=0.5)
    yield made
    await made.close()


async def ask(source: Prometheus) -> dict[str, float]:
    return {one.labels["tenant"]: one.value for one in await source.query("q", datetime.now(UTC))}


def said(status: int, body: Any) -> web.Response:
    return (
        web.json_response(body, status=status) if not isinstance(body, str) else web.Response(status=status, text=body)
    )


ERROR = {"status": "error", "errorType": "execution", "error": "found duplicate series for the match group"}
GOOD = {"resultType": "vector", "result": [{"metric": {}, "value": [1.0, "1"]}]}


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (422, ERROR, "422: found duplicate series for the match group"),
        (400, {"status": "error", "error": "parse error"}, "400: parse error"),
        (503, "upstream connect error", "503 and no JSON"),
        (503, {"status": "error"}, "503: no reason given"),
        (401, {}, "401: no reason given"),
        (302, "", "302 and no JSON"),
        (200, "<html>sign in</html>", "200 and no JSON"),
        (200, ["a", "list"], "200: no reason given"),
        (200, {"status": "success"}, "a None"),
        (200, {"status": "success", "data": {"resultType": "matrix", "result": []}}, "a matrix"),
        (200, {"status": "success", "data": {"resultType": "string", "result": [1, "x"]}}, "a string"),
        (200, {"status": "success", "data": {"resultType": "vector"}}, "can't be read"),
        (200, {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}, "can't be read"),
        (200, {"status": "success", "data": {"resultType": "scalar", "result": [1, "much"]}}, "can't be read"),
        (200, {"status": "success", "data": {"resultType": "vector", "result": 7}}, "can't be read"),
        (206, {"status": "success", "data": GOOD}, "206"),
    ],
)
async def test_what_is_no_measurement_is_an_error(
    api: QueryApi, source: Prometheus, status: int, body: Any, why: str
) -> None:
    api.answer = always(lambda: said(status, body))
    with pytest.raises(MetricsError, match=why):
        await ask(source)


async def test_a_slow_answer_is_none_and_the_next_one_counts_again(api: QueryApi, source: Prometheus) -> None:
    late = asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        await late.wait()
        return vector(a="1")

    api.answer = slow
    with pytest.raises(MetricsError, match=r"did not answer within 0.5 s"):
        await ask(source)
    late.set()
    api.answer = always(lambda: vector(a="0.25", b="NaN"))
    found = await ask(source)
    assert found["a"] == 0.25
    assert found["b"] != found["b"]


async def test_an_answer_that_never_ends_is_cut_off(
    api: QueryApi, source: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "LARGEST_ANSWER", 2**20)
    api.answer = always(lambda: web.Response(body=b" " * 2**21))
    with pytest.raises(MetricsError, match="more than 1 MiB"):
        await ask(source)


async def test_a_source_that_is_not_there_is_said(api: QueryApi) -> None:
    nowhere = Prometheus("http://127.0.0.1:1", timeout=5)
    with pytest.raises(MetricsError, match="did not answer"):
        await nowhere.query("q", datetime.now(UTC))
    await nowhere.close()


async def test_the_moment_and_the_age_of_samples_are_asked_for(api: QueryApi, source: Prometheus) -> None:
    at = datetime(2026, 11, 23, 9, 0, 0, 250_000, tzinfo=UTC)
    await source.query("up", at, timedelta(minutes=2))
    assert api.forms[-1] == {
        "query": "up",
        "time": "1795424400.250",
        "lookback_delta": "120.000",
        "partial_response": "false",
    }
