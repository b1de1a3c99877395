"""What people read, and which exit code a view means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from controlplane.cli.failures import Exit
from controlplane.cli.look import change_of
from controlplane.cli.output import when
from controlplane.cli.screens import plan_screen, rollout_screen
from controlplane.cli.watching import exit_of, waits_for_person
from controlplane.domain.moments import spell

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def _view(state: str = "running", **more: Any) -> dict[str, Any]:
    waves = [
        {"name": "pilot", "state": "done", "targets": 2, "counts": {"verified": 2}},
        {"name": "rest", "state": "pending", "targets": 3, "counts": {"pending": 3}},
    ]
    head = {
        "id": "01a20798-79bc-751f-93f0-46a2306e08ae",
        "release": "odoo/17.0.4",
        "targets": 5,
        "strategy": "careful@1",
    }
    counts = {"verified": 2, "pending": 3}
    return {**head, "state": state, "waves": waves, "counts": counts, "waitingFor": [], "explanation": {}, **more}


def _text(renderable: Any) -> str:
    console = Console(width=100, record=True, file=None, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_a_rollouts_screen_names_the_fleet_and_counts_each_wave() -> None:
    lines = _text(rollout_screen(_view(), "SIMULATED")).splitlines()
    assert "fleet: SIMULATED" in lines[0]
    assert lines[2].split() == ["pilot", "2", ".", "2", ".", ".", "passed"]
    assert lines[3].split() == ["rest", "3", ".", ".", ".", "3"]


def test_a_wave_that_had_no_turn_is_said_to_have_never_started() -> None:
    assert "never started" in _text(rollout_screen(_view("failed"), ""))


def test_stuck_tenants_are_loud() -> None:
    view = _view()
    view["waves"][0]["counts"] = {"verified": 1, "stuck": 1}
    assert "1 STUCK" in _text(rollout_screen(view, ""))


def test_text_from_outside_is_never_read_as_markup() -> None:
    view = _view(waitingFor=[{"gate": "window", "reason": "[red]opens[/red] Tue", "who": None}])
    assert "window: [red]opens[/red] Tue" in _text(rollout_screen(view, "[bold]x"))


def test_a_preview_groups_who_is_left_out_by_the_reason() -> None:
    excluded = [{"tenant": f"t{n}", "code": "held", "detail": "The release is held."} for n in range(5)]
    plan = {
        "release": "odoo/17.0.5",
        "targets": 0,
        "strategy": "careful@1",
        "peak": {"inFlight": 0, "unverified": 0, "ordersPerHour": 0},
        "wayBack": {"reapply": 0},
        "from": {},
        "excluded": excluded,
        "excludedCount": 9,
        "waitingFor": [],
        "waves": [],
        "notes": [],
    }
    text = _text(plan_screen(plan, ""))
    assert "t0, t1, t2 and 2 more: The release is held." in text
    assert "and 4 more" in text


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("succeeded", Exit.OK),
        ("failed", Exit.FAILED),
        ("aborted", Exit.FAILED),
        ("draft", Exit.WAITING),
        ("paused", Exit.WAITING),
    ],
)
def test_each_state_has_its_exit_code(state: str, code: Exit) -> None:
    assert exit_of(_view(state)) == code


def test_a_gate_that_names_who_is_waited_for_only_while_nothing_moves() -> None:
    waiting = [{"gate": "approval", "reason": "1 of 2", "who": "business"}]
    assert waits_for_person(_view(waitingFor=waiting))
    assert not waits_for_person(_view(waitingFor=waiting, counts={"apply": 1, "pending": 3}))
    assert not waits_for_person(_view(waitingFor=[{"gate": "window", "reason": "opens", "who": None}]))


@pytest.mark.parametrize(
    ("delta", "said"),
    [
        (timedelta(seconds=-3.14), "3.1 s ago"),
        (timedelta(seconds=-100), "100 s ago"),
        (timedelta(minutes=5), "in 5 min"),
        (timedelta(hours=-30), "30 h ago"),
        (timedelta(days=-3), "2026-11-20 09:00Z"),
    ],
)
def test_moments_are_said_as_people_say_them(delta: timedelta, said: str) -> None:
    assert when((NOW + delta).isoformat(), NOW) == said


def test_no_moment_is_an_empty_text() -> None:
    assert when(None, NOW) == ""


def test_spans_keep_one_unit() -> None:
    assert [spell(s) for s in (0.44, 59, 119, 121, 7200, 200_000)] == ["0.4 s", "59 s", "119 s", "2 min", "2 h", "2 d"]


def test_an_event_type_is_read_as_its_change() -> None:
    assert change_of("dev.seawall.rollout.target-rolled-back.v1") == "target-rolled-back"
    assert change_of("other") == "other"


def test_a_verdict_of_blame_is_a_line_that_says_whom_and_where_the_votes_are() -> None:
    verdict = {
        "role": "acquitted",
        "verdict": "blamed",
        "reason": "deploy of sync: 3 of the 3.",
        "why": "It is stopped.",
    }
    said = _text(rollout_screen(_view(blame=verdict), ""))
    assert "not this one: deploy of sync: 3 of the 3. It is stopped." in " ".join(said.split())
    assert "seawall blame 2e3068ae"[:14] in said
    assert "blame" not in _text(rollout_screen(_view(blame=None), ""))
