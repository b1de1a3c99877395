"""The timeline's screen, at 100 columns and without colour; and the command against a real API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from controlplane.cli.timeline_screen import Axis, timeline_screen
from tests.cli.conftest import Cli
from tests.plugins.api import Api
from tests.plugins.database import Database
from tests.support.registry import Fleet

UNTIL = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
SINCE = UNTIL - timedelta(hours=2)
ROLLOUT = "019300aa-0000-7000-8000-0000a1b2c3d4"


def at(minute: float) -> str:
    return (SINCE + timedelta(minutes=minute)).isoformat()


def entry(minute: float, change: str, tenant: str | None = None, **other: Any) -> dict[str, Any]:
    what = "deploy of odoo/17.0.5 in production" + (f", tenant {tenant}" if tenant else "")
    entry = {"role": "change", "kind": "rollout", "id": ROLLOUT, "seq": 0, "change": change, "tenant": tenant}
    return {**entry, "at": at(minute), "until": None, "what": what, "reason": "", "data": {}, **other}


def found(items: list[dict[str, Any]], signals: list[dict[str, Any]] | None = None, **other: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "tenant": None,
        "since": SINCE.isoformat(),
        "until": UNTIL.isoformat(),
        "notes": [],
        "complete": True,
    }
    return {**whole, "items": items[::-1], "signals": signals or [], **other}


def drawn(body: dict[str, Any]) -> list[str]:
    console = Console(width=100, record=True, no_color=True, highlight=False)
    console.print(timeline_screen(body, 100))
    return console.export_text().splitlines()


def test_marks_and_lines_stand_under_the_same_times() -> None:
    points = [[at(m), 0.04 if 60 <= m < 70 else 0.001] for m in range(121) if not 90 <= m < 100]
    signal = {"name": "traefik-5xx", "max": 0.01, "min": None, "state": "measured", "reason": ""}
    series = [{"tenant": "shop-1", "points": points}]
    lines = drawn(
        found([entry(60, "started"), entry(70, "target-rolled-back", "shop-1")], [{**signal, "series": series}])
    )
    lane = next(line for line in lines if line.startswith("odoo/17.0.5 a1b2c3d4"))
    line = next(line for line in lines if line.startswith("traefik-5xx shop-1"))
    hours = next(line for line in lines if "07:30" in line)
    started, back = lane.index(">"), lane.index("<")
    assert hours.index("07:00") == started == line.index("█")
    assert line.rindex("█") in (back, back - 1)
    assert "  " in line[back:-20]  # nothing was measured for ten minutes
    assert line.rstrip().endswith("max 0.04 BAD")
    assert max(map(len, lines)) <= 100


def test_many_tenants_are_one_line_and_of_marks_in_one_place_the_worst_is_drawn() -> None:
    many = [entry(30 + n / 100, "target-started", f"shop-{n}") for n in range(6)]
    lines = drawn(found([*many, entry(30.1, "target-failed", "shop-3", reason="[web] not ready")]))
    assert next(line for line in lines if line.startswith("odoo/17.0.5")).count("x") == 1
    text = " ".join(" ".join(lines).split())
    assert "deploy of odoo/17.0.5, 6 x: shop-0, shop-1, shop-2 and" in text
    assert "[web] not ready" in text


def test_a_window_is_a_stretch_and_what_is_unknown_says_why() -> None:
    window = entry(0, "deny", kind="calendar", role="window", id="sale/1/2/x", what="calendar sale: x", until=at(60))
    signal = {"name": "orders", "max": None, "min": 0.5, "state": "unknown", "reason": "it did not answer"}
    lines = drawn(found([window], [{**signal, "series": []}], complete=False))
    assert "[====" in next(line for line in lines if line.startswith("calendar sale"))
    assert "missing   orders: it did not answer" in lines
    cut = drawn(found([window], complete=False))
    assert cut[-1].startswith("missing   older entries")


def test_times_beyond_the_axis_are_drawn_at_its_end() -> None:
    axis = Axis(SINCE, UNTIL, 50)
    assert [axis.column(SINCE - timedelta(days=1)), axis.column(UNTIL), axis.column(UNTIL + timedelta(days=1))] == [
        0,
        49,
        49,
    ]


async def test_the_command_reads_pages_to_the_span_and_gives_json(api: Api, admin: Cli, database: Database) -> None:
    rows = Fleet(database.owner)
    rows.basics()
    rows.tenants(["acme"])
    for n in range(5):
        rows.run(
            "insert into history (subject_kind, subject_id, seq, type, tenant, at)"
            " values ('tenant', 'acme', %s, 'dev.seawall.tenant.changed.v1', 'acme', now() - make_interval(mins => %s))",
            n + 1,
            n + 1,
        )
    shown = await admin("timeline", "acme", "--since", "1h", "--signal", "orders")
    assert shown.code == 0, shown.err
    assert "tenant acme" in shown.out
    assert "no metric source is configured" in " ".join(shown.out.split())
    body = json.loads((await admin("timeline", "acme", "--limit", "2", "-o", "json")).out)
    assert [one["seq"] for one in body["items"]] == [1, 2]
    assert not body["complete"]
    assert (await admin("timeline", "nobody")).code == 4
    assert (await admin("timeline", "--signal", "vibes")).code == 1
