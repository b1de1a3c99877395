"""Restore drills from the command line, against a real API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.cli.conftest import Cli
from tests.plugins.api import Api
from tests.plugins.database import Database
from tests.support.registry import Fleet


async def test_a_drill_is_reported_listed_and_counted(api: Api, admin: Cli, database: Database) -> None:
    rows = Fleet(database.owner)
    rows.basics()
    rows.tenants(["acme", "zed"])
    ended = datetime.now(UTC) - timedelta(days=3)
    times = ["--started", (ended - timedelta(minutes=40)).isoformat(), "--ended", ended.isoformat()]
    made = await admin("drill", "report", "acme", "2026-q4", *times, "--result", "succeeded", "--backup", "nightly-1")
    assert made.code == 0, made.err
    assert (await admin("drill", "report", "acme", "2026-q4", *times, "--result", "failed")).code == 1
    assert (await admin("drill", "list", "acme", "-o", "name")).out == "2026-q4\n"
    assert "50% of tenants were restored from a backup within 30 days" in (await admin("outcomes")).out
