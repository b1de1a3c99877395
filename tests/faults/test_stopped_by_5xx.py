"""A release that breaks the checkout of two shops: Traefik counts, Prometheus scrapes, the gate sees it, and the wave stops.

Everything is real but the shops' own code: kube-apiserver, worker process, Traefik, Prometheus, HTTP requests.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import pytest

from controlplane.bootstrap import Container
from controlplane.domain.names import digest_of
from tests.contract.fleets import until_read
from tests.plugins.api import serving, settings_for
from tests.plugins.storefront import OpenStorefront
from tests.support.charts import IMAGE
from tests.support.processes import until

from .conftest import Field, driving

pytestmark = pytest.mark.kill

GATE: dict[str, Any] = {
    "metric": {
        "use": "traefik-5xx",
        "max": 0.05,
        "with": {"service": "web"},
        "window": "PT5S",
        "volume": {"min": 10},
        "interval": "PT0.5S",
        "samples": 2,
    }
}


def wave(name: str, cut: dict[str, Any], soak: str) -> dict[str, Any]:
    return {"name": name, "cut": cut, "soak": {"for": soak, "samples": 1}}


STRATEGY = {
    "waves": [
        wave("pilot", {"count": 1}, "PT3S"),
        wave("grow", {"count": 3}, "PT8S"),
        wave("rest", {"percent": "100%"}, "PT3S"),
    ],
    "limits": {"inFlight": 3},
    "during": [GATE],
}


def image_of(version: str) -> str:
    return f"{IMAGE.split('@')[0]}@sha256:{digest_of(version)[7:]}"


async def test_a_wave_stops_when_two_shops_answer_5xx_and_only_those_go_back(
    field: Field, open_storefront: OpenStorefront
) -> None:
    names = await field.tenants(6)
    well, broken, untouched = [names[0], names[2]], [names[1], names[3]], names[4:]
    field.rows.release("1.0")
    field.rows.release("2.0")
    field.rows.config("strategies", "watched", STRATEGY)
    street = await open_storefront(names)
    street.shops.errors = lambda tenant, image: 0.5 if tenant in broken and image == image_of("2.0") else 0.0
    await driving_after(field, await field.start("1.0"), street.prometheus.url)
    await until(lambda: all(street.shops.serving.image(name) == image_of("1.0") for name in names), what="1.0 serves")
    second = await field.start("2.0", "watched")
    assert await field.over(second) == ["failed"]
    assert field.targets(second) == {
        **dict.fromkeys(well, "verified"),
        **dict.fromkeys(broken, "rolledBack"),
        **dict.fromkeys(untouched, "cancelled"),
    }
    served = {name: street.shops.serving.image(name) for name in names}
    assert served == {
        **dict.fromkeys(well, image_of("2.0")),
        **dict.fromkeys([*broken, *untouched], image_of("1.0")),
    }
    verdict, reason, evidence = field.rows.ask(
        "select verdict, reason, evidence from gates where rollout_id = %s and verdict = 'fail'", second
    )[0]
    assert verdict == "fail"
    assert "> 0.05" in reason
    assert {v["tenant"] for v in evidence["values"] if (v["value"] or 0) > 0.05} <= set(broken)
    assert field.rows.ask("select version from holds where lifted_at is null") == [("2.0",)]
    visited = {tenant for (tenant, status), _ in street.shops.answered.items() if status == 503}
    assert visited <= set(broken), "only a broken shop turned anybody away"
    field.check()
    guilty = next(v["tenant"] for v in evidence["values"] if (v["value"] or 0) > 0.05)
    await the_timeline_tells(field, street.prometheus.url, guilty, str(second))


async def the_timeline_tells(field: Field, metrics: str, tenant: str, rollout: str) -> None:
    """What the API says of a broken shop: the change, the signal after it, the way back, and the 5xx in between, on one axis."""
    settings = settings_for(field.database).model_copy(update={"metrics_source": metrics})
    async with serving(Container(settings)) as api:
        client = await api.as_("operator")
        asked = {"tenant": tenant, "since": "PT10M", "signal": "traefik-5xx", "with": "service=web"}
        body = (await client.get("/v1/timeline", params=asked)).json()
        ill: list[datetime] = []

        async def errors_show() -> bool:
            """The next point of the series lies up to a step ahead."""
            (signal,) = (await client.get("/v1/timeline", params=asked)).json()["signals"]
            ((_, points),) = [(s["tenant"], s["points"]) for s in signal["series"]]
            ill[:] = [datetime.fromisoformat(at) for at, value in points if value > 0]
            return bool(ill)

        await until_read(errors_show)
    mine = [e for e in reversed(body["items"]) if e["id"] == rollout]
    changes = [e["change"] for e in mine]
    order = [changes.index(c) for c in ("target-started", "fail", "target-rolling-back", "target-rolled-back")]
    assert order == sorted(order), changes
    no = mine[order[1]]
    assert (no["role"], no["kind"]) == ("signal", "gate")
    assert tenant in {v["tenant"] for v in no["data"]["evidence"]["values"]}
    assert min(ill) >= datetime.fromisoformat(mine[order[0]]["at"])


async def driving_after(field: Field, first: uuid.UUID, metrics: str) -> None:
    """Let a worker that asks this Prometheus bring the first release out everywhere."""
    await driving(field, "worker", SEAWALL_METRICS_SOURCE=metrics)
    assert await field.over(first) == ["succeeded"]
