"""Calendars worked out over the API: their events, a tenant's windows, and the feeds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import icalendar
import pytest

from tests.adapters.test_icalendars import ics
from tests.api.problems import pointers, problem
from tests.plugins.api import Api
from tests.plugins.operations import Works

from .test_self_service import owner, planned

__all__ = ["owner"]
TOMORROW = datetime.now(UTC) + timedelta(days=1)
NIGHTS = ics((f"DTSTART:{TOMORROW:%Y%m%d}T220000", "DURATION:PT6H", "RRULE:FREQ=DAILY", "SUMMARY:night"))


@pytest.fixture
async def nights(works: Works, api: Api, owner: httpx.AsyncClient) -> httpx.AsyncClient:
    """acme-fr, in Paris, may be changed at night only; as a release manager."""
    works.fleet.run("update tenants set time_zone = 'Europe/Paris' where tenant = 'acme-fr'")
    manager = await api.as_("release-manager")
    put = await manager.put("/v1/calendars/nights", json={"ics": NIGHTS, "selector": "tenant=acme-fr"})
    assert put.status_code == 201, put.text
    return manager


async def test_a_calendars_events_are_listed_in_a_zone(nights: httpx.AsyncClient) -> None:
    answer = await nights.get("/v1/calendars/nights/events", params={"days": 3, "zone": "Europe/Paris"})
    found = answer.json()
    assert (found["effect"], found["selector"], found["error"]) == ("allow", "tenant=acme-fr", "")
    assert 2 <= len(found["items"]) <= 3
    first = datetime.fromisoformat(found["items"][0]["start"])
    assert first.hour in (20, 21)  # 22:00 in Paris, summer or winter
    assert problem(await nights.get("/v1/calendars/none/events"), 404, "not-found")
    bad = await nights.get("/v1/calendars/nights/events", params={"zone": "Mars/Olympus"})
    assert pointers(problem(bad, 422, "invalid")) == ["/zone"]
    late = await nights.get("/v1/calendars/nights/events", params={"from": "9999-12-31T00:00:00Z"})
    assert pointers(problem(late, 422, "invalid")) == ["/from"]


async def test_an_owner_sees_when_its_tenant_is_open_and_nobody_elses(
    nights: httpx.AsyncClient, owner: httpx.AsyncClient
) -> None:
    found = (await owner.get("/v1/tenants/acme-fr/windows")).json()
    assert (found["zone"], found["open"]) == ("Europe/Paris", False)
    assert found["reason"].startswith("opens ")
    assert found["reason"].endswith("22:00 Europe/Paris")
    assert found["windows"][0]["start"] == found["until"]
    problem(await owner.get("/v1/tenants/zed-de/windows"), 404, "not-found")
    everybody = (await nights.get("/v1/tenants/zed-de/windows")).json()
    assert (everybody["open"], everybody["windows"]) == (True, [{"start": None, "end": None}])


async def test_feeds_hold_planned_changes_windows_and_freezes(
    works: Works, nights: httpx.AsyncClient, owner: httpx.AsyncClient
) -> None:
    await planned(works)
    freeze = {"all": True, "reason": "Black Friday"}
    assert (await nights.post("/v1/freezes", json=freeze, headers={"Idempotency-Key": "k"})).status_code == 201
    mine = await owner.get("/v1/tenants/acme-fr/schedule.ics")
    assert mine.headers["content-type"].startswith("text/calendar")
    summaries = [str(e["SUMMARY"]) for e in icalendar.Calendar.from_ical(mine.text).walk("VEVENT")]
    assert "odoo/17.0.4 (deploy)" in summaries
    assert "Window open (production)" in summaries
    again = await owner.get("/v1/tenants/acme-fr/schedule.ics")
    assert mine.headers["etag"] == again.headers["etag"]
    fleet = icalendar.Calendar.from_ical((await nights.get("/v1/schedule.ics")).text)
    everything = " ".join(str(e["SUMMARY"]) for e in fleet.walk("VEVENT"))
    assert "odoo/17.0.4 all" in everything
    assert "Freeze: the whole fleet (until it is lifted)" in everything
    assert "Window: night" in everything
    problem(await owner.get("/v1/schedule.ics"), 404, "not-found")


async def test_the_next_change_of_a_tenant_is_expected_when_its_window_opens(
    works: Works, nights: httpx.AsyncClient
) -> None:
    asked = {"release": "odoo/17.0.4", "strategy": "all", "selector": "tenant=acme-fr"}
    preview = (await nights.post("/v1/rollouts:preview", json=asked)).json()
    waits = preview["waitingFor"][0]
    assert (waits["tenant"], waits["gate"]) == ("acme-fr", "window")
    assert waits["reason"].endswith("22:00 Europe/Paris")
    assert preview["waves"][0]["expectedBy"] > waits["until"]
