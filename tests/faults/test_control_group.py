"""A day on which three times as many requests fail everywhere: a good release goes through, a bad one is found by its untreated neighbours.

Everything is real but the shops' own code: kube-apiserver, worker process, Traefik, Prometheus, HTTP requests. Each shop's past is written
into Prometheus as Traefik would have counted it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from controlplane.domain.names import digest_of
from tests.plugins.storefront import VISITS_PER_SECOND, OpenStorefront
from tests.support.charts import IMAGE
from tests.support.otlp import Written, write
from tests.support.processes import until

from .conftest import Field, driving

pytestmark = pytest.mark.kill

USUAL, SHOCK, HARM = 0.02, 0.04, 0.14
"""Shares of requests that fail: always, besides on a bad day, and besides with the bad release."""
COUNTED = (
    'sum by (tenant) (label_replace(increase(traefik_service_requests_total{code=~"%s"}[{window}]),'
    ' "tenant", "$1", "service", "(.+)-web-80@.*"))'
)
GATE: dict[str, Any] = {
    "control-group": {
        "bad": COUNTED % "5..",
        "volume": COUNTED % ".+",
        "interval": "PT3S",
        "history": "P1D",
        "minVolume": 300,
    }
}
STRATEGY = {
    "waves": [
        {"name": "pilot", "cut": {"count": 3}, "soak": {"for": "PT25S", "samples": 1}},
        {"name": "rest", "cut": {"percent": "100%"}, "soak": {"for": "PT3S", "samples": 1}},
    ],
    "limits": {"inFlight": 9},
    "during": [GATE],
}


def image_of(version: str) -> str:
    return f"{IMAGE.split('@')[0]}@sha256:{digest_of(version)[7:]}"


def past(tenants: list[str]) -> list[Written]:
    """A day and an hour of Traefik's counters, every ten minutes."""
    rng, now = np.random.default_rng(1), datetime.now(UTC)
    times = [now - timedelta(minutes=10 * n) for n in range(150, 0, -1)]
    series = []
    for tenant in tenants:
        orders = rng.poisson(600 * VISITS_PER_SECOND, len(times))
        for code, counts in (("503", rng.binomial(orders, USUAL)), ("200", orders)):
            values = np.cumsum(counts).tolist()
            labels = {"service": f"{tenant}-web-80@file", "code": code, "method": "GET", "protocol": "http"}
            points = [(at, float(value)) for at, value in zip(times, values, strict=True)]
            series.append(Written("traefik_service_requests_total", points, labels))
    return series


async def test_a_bad_release_is_told_from_a_bad_day_by_those_that_do_not_have_it(
    field: Field, open_storefront: OpenStorefront
) -> None:
    names = await field.tenants(12)
    for version in ("1.0", "2.0", "3.0"):
        field.rows.release(version)
    field.rows.config("strategies", "compared", STRATEGY)
    street = await open_storefront(names)
    write(street.prometheus.url, past(names))
    street.shops.errors = lambda _tenant, image: USUAL + (HARM if image == image_of("3.0") else 0.0)
    first = await field.start("1.0")
    await driving(field, "worker", SEAWALL_METRICS_SOURCE=street.prometheus.url)
    assert await field.over(first) == ["succeeded"]
    await until(lambda: all(street.shops.serving.image(name) == image_of("1.0") for name in names), what="1.0 serves")
    street.shops.shock = SHOCK
    good = await field.start("2.0", "compared")
    assert await field.over(good) == ["succeeded"], field.rows.ask(
        "select verdict, reason from gates where rollout_id = %s", good
    )
    bad = await field.start("3.0", "compared")
    assert await field.over(bad) == ["failed"]
    states = field.targets(bad)
    assert sorted(states.values()) == ["cancelled"] * 9 + ["rolledBack"] * 3
    reason, evidence = field.rows.ask(
        "select reason, evidence from gates where rollout_id = %s and verdict = 'fail'", bad
    )[0]
    assert "what their own past and the untreated lead to expect" in reason
    assert set(evidence["judgement"]["drivers"]) == {name for name, state in states.items() if state == "rolledBack"}
    assert evidence["judgement"]["factor"][0] > 1.2
    assert field.rows.ask("select version from holds where lifted_at is null") == [("3.0",)]
    field.check()
