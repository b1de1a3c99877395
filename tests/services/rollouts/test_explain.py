from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.domain.rollouts import RolloutState, TargetState
from controlplane.ports.stores.rollout_rows import RolloutHead, TargetCount
from controlplane.services.rollouts.explain import explanation_of, view_of, waiting_for

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def count(state: str, number: int, code: str = "", reason: str = "", wave: int = 0) -> TargetCount:
    return TargetCount(wave, state, code, number, reason, "acme-fr")


def head(state: str, *counts: TargetCount, **changes: Any) -> RolloutHead:
    waves = [{"wave": 0, "name": "pilot", "state": "running", "startedAt": None, "endedAt": None, "detail": {}}]
    fields: dict[str, Any] = {
        "id": uuid.UUID(int=1), "kind": "deploy", "app": "odoo", "version": "17.0.4", "environment": "production",
        "selector": "", "strategy": "careful", "strategy_version": 7, "state": state, "outcome": "", "plan_hash": "x",
        "reason": "", "change_ref": "", "not_before": None, "requested_by": "mia", "origin": {}, "waiting_for": [],
        "memory": {}, "created_at": NOW, "started_at": None, "ended_at": None, "command_seq": 0, "pending_commands": [],
        "waves": waves, "counts": list(counts),
    }  # fmt: skip
    return RolloutHead(**(fields | changes))


@pytest.mark.parametrize(
    ("one", "now", "following", "who"),
    [
        (head("draft", count("pending", 3)), "Nothing has started; 3 targets are planned.", "Somebody starts it", True),
        (head("planned", count("pending", 3)), "Nothing has started", "A worker takes it up.", False),
        (
            head("running", count("verified", 2), count("soak", 1), count("pending", 4)),
            "Running: 2 of 7 targets verified, 1 moving forward.",
            "Wave pilot goes on; 4 targets have not started.",
            False,
        ),
        (
            head("rollingBack", count("rollingBack", 2), count("rolledBack", 1)),
            "Going back: 0 of 3 targets verified, 1 rolled back, 0 moving forward, 2 going back.",
            "What was changed goes back",
            False,
        ),
        (head("paused", count("pending", 1)), "Paused", "Somebody resumes or aborts it", True),
        (
            head("failed", count("verified", 1), count("cancelled", 2), outcome="too-many-failures"),
            "Over (too-many-failures): 1 of 3 targets verified.",
            "2 targets were left out; a retry gives the same content.",
            False,
        ),
        (head("succeeded", count("verified", 1)), "Over (succeeded): 1 of 1 targets verified.", "", False),
    ],
)
def test_each_state_says_what_is_what_comes_next_and_who_can_act(
    one: RolloutHead, now: str, following: str, who: bool
) -> None:
    said = explanation_of(one, NOW)
    assert said.now.startswith(now)
    assert said.next.startswith(following)
    assert bool(said.who) is who


@pytest.mark.parametrize("state", list(RolloutState))
@pytest.mark.parametrize("target", list(TargetState))
def test_every_state_of_a_rollout_and_its_targets_can_be_shown(state: RolloutState, target: TargetState) -> None:
    view = view_of(head(state, count(target, 2, "x", "because")), "https://seawall/v1/rollouts/1", NOW)
    assert view.explanation.now
    assert view.counts == {target: 2}
    assert view.waves[0].targets == view.targets == 2


def test_a_pause_that_was_answered_is_shown_until_a_later_resume() -> None:
    said = [{"seq": 1, "command": "pause", "actor": "mia"}, {"seq": 2, "command": "resume", "actor": "mia"}]
    assert view_of(head("running", pending_commands=said[:1]), "u", NOW).paused is True
    assert view_of(head("running", pending_commands=said), "u", NOW).paused is False


def test_deferred_targets_are_counted_apart_from_what_waits() -> None:
    one = head(
        "running", count("deferred", 2, "suspended", "the tenant is suspended"), count("pending", 1, "busy", "r")
    )
    assert view_of(one, "u", NOW).deferred == 2
    assert [(w.gate, w.targets) for w in waiting_for(one, NOW)] == [("slot", 1)]


def test_why_a_wave_stopped_the_rollout_is_the_explanation() -> None:
    one = head(
        "failed", count("rolledBack", 3, "no-progress", "web not ready"), memory={"reason": "wave pilot: 3 failed"}
    )
    said = explanation_of(one, NOW)
    assert said.why == "wave pilot: 3 failed"
    assert [(t.code, t.targets, t.example, t.reason) for t in said.troubles] == [
        ("no-progress", 3, "acme-fr", "web not ready")
    ]


def test_windows_are_waited_for_until_they_open_and_who_was_left_is_counted_for_catching_up() -> None:
    later, earlier = datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
    detail = {"code": "window", "reason": "opens Tue 01:00 Europe/Paris", "until": later.isoformat()}
    waves = [{"wave": 0, "name": "pilot", "state": "pending", "startedAt": None, "endedAt": None, "detail": detail}]
    closed = TargetCount(0, "pending", "window", 3, "opens Tue 01:00 Europe/Paris", "acme-fr", later)
    opened = TargetCount(0, "pending", "window", 1, "opens Sun 01:00 Europe/Paris", "zed-de", earlier)
    left = count("skipped", 2, "window", "closed"), count("deferred", 1, "window", "closed")
    one = head("running", closed, opened, *left, waves=waves)
    waits = [(w.gate, w.reason, w.until, w.targets) for w in waiting_for(one, NOW)]
    assert waits == [
        ("window", "wave pilot: opens Tue 01:00 Europe/Paris", later, 0),
        ("window", "acme-fr: opens Tue 01:00 Europe/Paris", later, 3),
    ]
    assert view_of(one, "https://seawall/v1/rollouts/1", NOW).catch_up == 3
