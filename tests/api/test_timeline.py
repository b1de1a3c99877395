"""One axis of changes and signals, over a real registry and a real Prometheus."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from controlplane.adapters.prometheus import Prometheus
from tests.api.problems import problem
from tests.api.test_insight import NAMES, happened, started
from tests.plugins.api import Api
from tests.plugins.prometheus import PrometheusServer
from tests.support.otlp import Written, write
from tests.support.registry import Fleet

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//tests//EN
BEGIN:VEVENT
UID:sale@tests
DTSTAMP:20260101T000000Z
DTSTART:{start:%Y%m%dT%H%M%SZ}
DTEND:{end:%Y%m%dT%H%M%SZ}
SUMMARY:Winter sale
END:VEVENT
END:VCALENDAR
"""


async def read(client: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    answer = await client.get("/v1/timeline", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def said(fleet: Fleet, rollout: str, verdict: str, minutes_ago: int, **evidence: Any) -> None:
    """Write a gate's last word as a worker does."""
    fleet.run(
        "insert into gates (rollout_id, wave, place, idx, kind, verdict, reason, who, since, evidence)"
        " values (%s, 0, 'during', 0, 'metric', %s, '0.04 above 0.01', '', now() - make_interval(mins => %s), %s::jsonb)",
        rollout,
        verdict,
        minutes_ago,
        json.dumps(evidence),
    )


@pytest.fixture
async def stopped(api: Api, fleet: Fleet) -> str:
    """A rollout that a gate stopped; one tenant went back, one is verified."""
    rollout = await started(api)
    for tenant in NAMES[:2]:
        happened(fleet, rollout, tenant, "target-started", 30)
    happened(fleet, rollout, "acme-de", "target-verified", 25)
    happened(fleet, rollout, "acme-fr", "target-failed", 20, code="unhealthy", reason="web not ready")
    happened(fleet, rollout, "acme-fr", "target-rolled-back", 18)
    said(fleet, rollout, "fail", 21, values=[{"tenant": "acme-fr", "value": 0.04}, {"tenant": "acme-de", "value": 0}])
    return rollout


async def test_changes_gates_ill_health_and_calendars_lie_on_one_axis_newest_first(
    api: Api, fleet: Fleet, stopped: str
) -> None:
    now = datetime.now(UTC)
    ics = CALENDAR.format(start=now - timedelta(minutes=40), end=now + timedelta(hours=3))
    fleet.config("calendars", "sale", {"ics": ics, "effect": "deny", "selector": ""})
    fleet.run(
        "update environments set health = 'unhealthy', health_reason = 'odoo-web 0 of 2 ready',"
        " health_at = now() - interval '5 minutes' where tenant = 'acme-fr'"
    )
    operator = await api.as_("operator")
    body = await read(operator, tenant="acme-fr", since="PT1H")
    soon = now - timedelta(minutes=2)
    shown = [(e["role"], e["kind"], e["change"]) for e in body["items"] if time(e["at"]) < soon]
    assert shown == [
        ("signal", "health", "unhealthy"),
        ("change", "rollout", "target-rolled-back"),
        ("signal", "rollout", "target-failed"),
        ("signal", "gate", "fail"),
        ("change", "rollout", "target-started"),
        ("window", "calendar", "deny"),
    ]
    gate = next(e for e in body["items"] if e["kind"] == "gate")
    assert gate["data"]["evidence"]["values"][0] == {"tenant": "acme-fr", "value": 0.04}
    sale = next(e for e in body["items"] if e["kind"] == "calendar")
    assert sale["what"] == "calendar sale: Winter sale"
    assert time(sale["until"]) > time(body["until"])


async def test_pages_of_a_fleet_give_everything_once_over_the_span_of_the_first(
    api: Api, fleet: Fleet, stopped: str
) -> None:
    auditor = await api.as_("auditor")
    whole = await read(auditor, since="PT1H", limit=500)
    seen: list[dict[str, Any]] = []
    page = await read(auditor, since="PT1H", limit=3)
    assert not page["complete"]
    while True:
        happened(fleet, stopped, "zed-de", "target-started", 0)  # meanwhile the fleet goes on
        seen += page["items"]
        if "next" not in page:
            break
        page = (await auditor.get(page["next"])).json()
        assert page["signals"] == []
    old = [e for e in seen if time(e["at"]) < time(whole["until"])]
    assert old == whole["items"]
    assert len({(e["kind"], e["id"], e["seq"]) for e in seen}) == len(seen)
    assert page["complete"]


async def test_an_owner_sees_its_own_tenant_and_no_other_ones_values(api: Api, stopped: str) -> None:
    owner = await api.as_("tenant-owner", tenants=["acme-fr"])
    body = await read(owner, tenant="acme-fr", since="PT1H")
    assert {e["tenant"] for e in body["items"]} == {"acme-fr"}
    assert [e["change"] for e in body["items"]][:3] == ["target-rolled-back", "target-failed", "target-started"]
    assert "acme-de" not in json.dumps(body)
    for params in ({"tenant": "acme-de"}, {"tenant": "nobody"}, {}):
        problem(await owner.get("/v1/timeline", params=params), 404, "not-found")
    operator = await api.as_("operator")
    problem(await operator.get("/v1/timeline", params={"tenant": "nobody"}), 404, "not-found")


async def test_what_concerns_a_tenant_of_the_fleet_stands_on_its_timeline_and_the_rest_does_not(
    api: Api, fleet: Fleet, stopped: str
) -> None:
    for kind, name in (("cluster", "aks-1"), ("cluster", "aks-2"), ("tier", "standard"), ("strategy", "all")):
        fleet.run(
            "insert into history (subject_kind, subject_id, seq, type, at) values (%s, %s, 9, %s, now() - interval '9 minutes')",
            kind,
            name,
            f"dev.seawall.{kind}.changed.v1",
        )
    operator = await api.as_("operator")
    await operator.post("/v1/freezes", json={"all": True, "reason": "sale"})
    theirs = {f"{e['kind']}/{e['id']}" for e in (await read(operator, tenant="acme-fr"))["items"]}
    assert {"cluster/aks-1", "tier/standard"} <= theirs
    assert not {"cluster/aks-2", "strategy/all"} & theirs
    assert any(one.startswith("freeze/") for one in theirs)
    everybody = {f"{e['kind']}/{e['id']}" for e in (await read(operator))["items"]}
    assert {"cluster/aks-1", "cluster/aks-2", "tier/standard", "strategy/all"} <= everybody


async def test_series_come_from_the_metric_source_of_a_tenant_and_of_the_worst_of_a_fleet(
    api: Api, fleet: Fleet, metric_store: PrometheusServer
) -> None:
    # names that no other test writes series of
    mark = uuid.uuid4().hex[:6]
    fleet.basics()
    shops = fleet.tenants(f"shop-{mark}-{n:02d}" for n in range(14))
    now = datetime.now(UTC)
    times = [now - timedelta(seconds=30 * n) for n in range(60, -1, -1)]
    write(
        metric_store.url,
        [
            Written("odoo_queue_jobs", [(t, float(n)) for t in times], {"tenant": shop, "state": "pending"})
            for n, shop in enumerate(shops)
        ],
    )
    api.container.metric_sources["default"] = Prometheus(metric_store.url)
    operator = await api.as_("operator")
    one = await read(operator, tenant=shops[5], since="PT30M", signal="queue-depth")
    (signal,) = one["signals"]
    assert (signal["name"], signal["state"], signal["unit"], signal["max"]) == ("queue-depth", "measured", "jobs", 500)
    (series,) = signal["series"]
    assert series["tenant"] == shops[5]
    assert {value for _, value in series["points"]} == {5}
    assert all(time(one["since"]) <= time(at) <= time(one["until"]) for at, _ in series["points"])
    assert one["step"] == "PT15S"
    assert one["complete"]
    fleet_wide = await read(operator, since="PT30M", signal=["queue-depth"])
    worst = [s["tenant"] for s in fleet_wide["signals"][0]["series"]]
    assert worst == shops[4:]


async def test_a_source_that_is_away_is_unknown_with_its_reason_and_the_rest_is_shown(api: Api, stopped: str) -> None:
    operator = await api.as_("operator")
    none = await read(operator, tenant="acme-fr", since="PT1H")
    assert {s["state"] for s in none["signals"]} == {"unknown"}
    assert "no metric source" in none["signals"][0]["reason"]
    api.container.metric_sources["default"] = Prometheus("http://127.0.0.1:9")
    away = await read(operator, tenant="acme-fr", since="PT1H", signal="orders")
    assert [(s["name"], s["state"]) for s in away["signals"]] == [("orders", "unknown")]
    assert "did not answer" in away["signals"][0]["reason"]
    assert not away["complete"]
    assert len(away["items"]) >= 4


@pytest.mark.parametrize(
    "params",
    [
        {"signal": "traefik-5xx", "with": 'service=web"} or vector(1) #'},
        {"signal": "orders", "with": "service=web"},
        {"signal": "vibes"},
        {"since": "P100D"},
        {"since": "PT1H", "until": "PT2H"},
        {"until": "tomorrow"},
        {"cursor": "x"},
    ],
)
async def test_what_can_not_be_shown_is_refused(api: Api, params: dict[str, str]) -> None:
    operator = await api.as_("operator")
    answer = await operator.get("/v1/timeline", params=params)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in ("invalid", "invalid-cursor")


async def test_a_right_edge_ahead_of_our_clock_is_now(api: Api) -> None:
    operator = await api.as_("operator")
    ahead = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    body = await read(operator, until=ahead, since=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    assert time(body["until"]) < time(ahead)
