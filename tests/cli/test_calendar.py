"""Calendars and windows on the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.adapters.test_icalendars import ics
from tests.cli.conftest import Cli
from tests.plugins.database import Database
from tests.support.registry import Fleet


async def test_a_calendar_is_applied_shown_and_obeyed_by_a_tenants_windows(
    admin: Cli, database: Database, tmp_path: Path
) -> None:
    fleet = Fleet(database.owner)
    fleet.basics()
    fleet.tenants(["acme-fr"])
    start = datetime.now(UTC) + timedelta(days=1)
    nights = ics((f"DTSTART:{start:%Y%m%d}T220000", "DURATION:PT6H", "RRULE:FREQ=DAILY", "SUMMARY:night shift"))
    head = {"apiVersion": "seawall.dev/v1", "kind": "calendar", "metadata": {"name": "nights"}}
    file = tmp_path / "nights.yaml"
    file.write_text(json.dumps({**head, "spec": {"ics": nights, "selector": "tenant=acme-fr"}}))
    applied = await admin("apply", "-f", str(file))
    assert applied.code == 0, applied.err
    assert "nights" in (await admin("get", "calendars")).out
    shown = await admin("calendar", "show", "nights", "--days", "2", "--zone", "Europe/Paris")
    assert "night shift" in shown.out
    assert "allow for tenant=acme-fr" in shown.err
    windows = await admin("calendar", "windows", "acme-fr", "--days", "2")
    assert windows.err.startswith("closed until ")
    feed = await admin("calendar", "feed")
    assert feed.out.startswith("BEGIN:VCALENDAR")
    assert "Window: night shift" in feed.out
    assert (await admin("calendar", "show", "none")).code == 4
