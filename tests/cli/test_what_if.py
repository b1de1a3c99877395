"""The screen of a what-if."""

from __future__ import annotations

from rich.console import Console

from controlplane.cli.what_if import chart, sparkline, what_if_screen


def test_the_screen_says_how_it_ends_when_and_what_is_at_stake() -> None:
    point = {"after": "PT1H", "inFlight": [2, 4], "unverified": [2, 5], "ordersPerHour": ["10", "420.5"]}
    found = {
        "targets": 24, "runs": 100, "seed": 1, "failureRate": 0.02, "clustering": 0.31, "goneBack": [0, 2],
        "ends": [
            {"outcome": "succeeded", "stoppedBy": "", "share": 0.9},
            {"outcome": "failed", "stoppedBy": "metric", "share": 0.1},
        ],
        "gates": [
            {"gate": "approval", "wave": "pilot", "place": "before", "index": 0, "share": 0.0},
            {"gate": "metric", "wave": "pilot", "place": "during", "index": 0, "share": 0.0},
            {"gate": "metric", "wave": "rest", "place": "during", "index": 1, "share": 0.1},
        ],
        "finish": {"p50": "PT4H", "p90": "PT6H", "by": "2026-11-25T06:00:00Z"},
        "curve": [point], "assumptions": [{"code": "x", "detail": "No gate of kind metric is recorded."}],
    }  # fmt: skip
    console = Console(width=120, record=True)
    console.print(what_if_screen(found, "SIMULATED"))
    said = console.export_text()
    for part in (
        "24 targets, 100 runs",
        "fleet: SIMULATED",
        "metric",
        "10%",
        "by 2026-11-25T06:00:00Z",
        "420.5",
        "clustered 0.31",
        "2 of 3 gates stop it in no run (approval)",
        "assumed",
    ):
        assert part in said, part
    line = next(line for line in said.splitlines() if line.startswith("metric 2"))
    assert line.split() == ["metric", "2", "rest", "during", "10%", "of", "runs"]


def test_a_sparkline_is_as_high_as_its_values() -> None:
    assert sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert sparkline([0, 0]) == "  "


def test_a_chart_has_the_median_below_the_90th_percentile_over_one_axis() -> None:
    lines = [line.plain for line in chart([(0, 0), (50, 100), (100, 100), (0, 50)], "until PT4H", rows=4)]
    assert lines[:5] == [
        "      100 | :# ",
        "          | :# ",
        "          | ##:",
        "          | ##:",
        "        0 +----",
    ]
    assert lines[5].split() == ["start", "until", "PT4H"]
    assert [line.plain for line in chart([(0, 0)], "until PT0S")] == ["  none"]
