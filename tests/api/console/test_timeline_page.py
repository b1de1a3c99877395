"""The timeline as a page: what `GET /v1/timeline` says, drawn and in words; and to whom."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from controlplane.adapters.prometheus import Prometheus
from tests.api.console.conftest import LogIn
from tests.api.test_insight import NAMES, happened, started
from tests.api.test_timeline import CALENDAR, read, said
from tests.plugins.api import Api
from tests.plugins.prometheus import PrometheusServer
from tests.support.otlp import Written, write
from tests.support.registry import Fleet


async def broken(api: Api, fleet: Fleet) -> str:
    """A rollout that a gate stopped, as its driver would have left it."""
    rollout = await started(api)
    for tenant in NAMES[:2]:
        happened(fleet, rollout, tenant, "target-started", 30)
    happened(fleet, rollout, "acme-fr", "target-failed", 20, code="unhealthy", reason="web <b>not</b> ready")
    said(fleet, rollout, "fail", 21, values=[{"tenant": "acme-fr", "value": 0.04}])
    return rollout


async def test_changes_gates_and_calendars_are_drawn_and_told_as_the_api_tells_them(
    api: Api, fleet: Fleet, log_in: LogIn
) -> None:
    rollout = await broken(api, fleet)
    now = datetime.now(UTC)
    ics = CALENDAR.format(start=now - timedelta(minutes=40), end=now + timedelta(hours=3))
    fleet.config("calendars", "sale", {"ics": ics, "effect": "deny", "selector": ""})
    page = await (await log_in("operator")).get("/console/timeline?since=PT1H")
    for words in (
        "web <b>not</b> ready",
        "0.04 above 0.01",
        '"value": 0.04',
        "calendar sale: Winter sale",
        "! a gate's no",
    ):
        assert words in page.text
    assert f"/console/rollouts/{rollout}" in page.links
    body = await read(await api.as_("operator"), since="PT1H")
    assert len(body["items"]) >= 5
    assert all(" ".join(one["what"].split()) in page.text for one in body["items"])
    assert "/console/timeline" in (await (await log_in("auditor")).get("/console")).links


async def test_without_a_metric_source_each_signal_is_unknown_and_the_rest_is_shown(
    api: Api, fleet: Fleet, log_in: LogIn
) -> None:
    await broken(api, fleet)
    browser = await log_in("operator")
    page = await browser.get("/console/timeline?tenant=acme-fr")
    assert "orders: unknown, no metric source is configured" in page.text
    assert "target-failed" in page.text
    api.container.metric_sources["default"] = Prometheus("http://127.0.0.1:9")
    away = await browser.get("/console/timeline?tenant=acme-fr&signal=orders")
    assert "orders: unknown" in away.text
    assert "did not answer" in away.text


async def test_signals_of_a_real_prometheus_are_drawn_with_their_limit(
    api: Api, fleet: Fleet, log_in: LogIn, metric_store: PrometheusServer
) -> None:
    fleet.basics()
    (shop,) = fleet.tenants([f"page-{uuid.uuid4().hex[:6]}"])
    now = datetime.now(UTC)
    points = [(now - timedelta(seconds=30 * n), 700.0 if n < 10 else 3.0) for n in range(60, -1, -1)]
    write(metric_store.url, [Written("odoo_queue_jobs", points, {"tenant": shop, "state": "pending"})])
    api.container.metric_sources["default"] = Prometheus(metric_store.url)
    page = await (await log_in("operator")).get(f"/console/timeline?tenant={shop}&since=PT30M&signal=queue-depth")
    assert "max 700 BAD" in page.text
    assert "over its limit at least once" in page.text
    assert "at most 500" in page.text
    assert "Missing here" not in page.text


async def test_an_owner_sees_its_own_tenant_s_timeline_and_no_other(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    await broken(api, fleet)
    owner = await log_in("tenant-owner", tenants=["acme-fr"])
    assert "/console/timeline?tenant=acme-fr" in (await owner.get("/console/tenants/acme-fr")).links
    page = await owner.get("/console/timeline?tenant=acme-fr&since=PT1H")
    assert "target-failed" in page.text
    assert "acme-de" not in page.text
    assert not [one for one in page.links if one.startswith("/console/rollouts/")]
    for path in ("/console/timeline", "/console/timeline?tenant=acme-de", "/console/timeline?tenant=nobody"):
        await owner.get(path, 404)


async def test_older_entries_are_a_link_away_over_the_same_span(api: Api, fleet: Fleet, log_in: LogIn) -> None:
    rollout = await started(api)
    for n in range(120):
        happened(fleet, rollout, "acme-fr", "target-started", 1 + n // 4)
    browser = await log_in("operator")
    first = await browser.get("/console/timeline?since=PT1H")
    (older,) = [one for one in first.links if "cursor=" in one]
    second = await browser.get(older)
    assert "Worst" in first.text
    assert "Worst" not in second.text, "series come with the first page"
    assert not [one for one in second.links if "cursor=" in one]
    shown = [page.links.count(f"/console/rollouts/{rollout}") for page in (first, second)]
    assert shown[0] <= 100
    assert sum(shown) >= 120


async def test_what_can_not_be_shown_is_a_page_that_says_so(fleet: Fleet, log_in: LogIn) -> None:
    browser = await log_in("operator")
    assert "There is no named query vibes" in (await browser.get("/console/timeline?signal=vibes", 422)).text
    assert "neither a duration nor a past time" in (await browser.get("/console/timeline?since=soon", 422)).text
    assert "covers P92D at most" in (await browser.get("/console/timeline?since=P100D", 422)).text
    assert "fills nothing" in (await browser.get("/console/timeline?with=a%3D%22", 422)).text
