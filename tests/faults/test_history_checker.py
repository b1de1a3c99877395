"""The checker itself: an honest history passes, and each doctored one is refused in the right words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from tests.support.audit_log import Write
from tests.support.history_checker import Claim, History, Move, Pause, Step, check_history

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROLLOUT, STEP = UUID(int=1), UUID(int=2)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def write(seconds: float, epoch: int, resource: str = "services", name: str = "web", **changes: object) -> Write:
    """An accepted apply in namespace `acme`, answered within 10 ms."""
    plain = Write(
        at=at(seconds),
        done=at(seconds + 0.01),
        user="system:serviceaccount:acme:seawall-deployer",
        epoch=epoch,
        verb="patch",
        resource=resource,
        namespace="acme",
        name=name,
        code=200,
        step="",
        uid="u",
        resource_version="1",
        changed=True,
        dry_run=False,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # each test names fields of Write


def seal(seconds: float, epoch: int, step: str = "s1") -> Write:
    return write(seconds, epoch, "namespaces", "acme", step=step)


def honest() -> History:
    """A rollout that was taken over once, in the middle of a step."""
    step = Step(STEP, 0, ROLLOUT, "acme", "apply", "apply", "Service", "web", "OBSERVED", 5, at(0))
    return History(
        steps=[step],
        moves=[
            Move(1, "fleet/inFlight", Decimal(1), Decimal(1), Decimal(1)),
            Move(2, "fleet/inFlight", Decimal(-1), Decimal(0), Decimal(1)),
        ],
        reserved={"fleet/inFlight": Decimal(0)},
        rollouts=[{"id": ROLLOUT, "state": "succeeded", "due_at": None, "not_before": None}],
        targets=[{"rollout_id": ROLLOUT, "tenant": "acme", "state": "verified", "code": "", "reason": ""}],
        writes=[seal(0, 5), write(0.1, 5), seal(4, 6), write(4.1, 6, changed=False)],
        claims=[
            Claim("w1", str(ROLLOUT), 1, "2026-03-01T12:00:00Z"),
            Claim("w2", str(ROLLOUT), 2, "2026-03-01T12:00:04Z"),
        ],
    )


def told(history: History, words: str) -> bool:
    """Whether exactly one thing was found, in these words."""
    found = check_history(history)
    return len(found) == 1 and words in found[0]


def test_an_honest_history_passes() -> None:
    assert check_history(honest()) == []


def test_an_effect_that_happened_twice_is_found() -> None:
    history = honest()
    history.writes[-1] = write(4.1, 6)
    assert told(history, "step s1 changed services/web in acme 2 times")


def test_a_second_step_may_change_the_same_object() -> None:
    history = honest()
    history.writes += [seal(9, 7, "s2"), write(9.1, 7)]
    assert check_history(history) == []


def test_a_write_whose_epoch_was_never_sealed_is_found() -> None:
    history = honest()
    history.writes.append(write(4.2, 9, changed=False))
    assert told(history, "came without a seal")


def test_a_zombie_that_wrote_after_the_seal_is_found() -> None:
    history = honest()
    history.writes.append(write(5.5, 5, changed=False))
    assert told(history, "epoch 5 succeeded after the seal 6 was acknowledged")


def test_a_zombie_within_the_admission_lag_or_refused_is_no_fault() -> None:
    history = honest()
    history.writes += [write(4.5, 5, changed=False), write(9, 5, code=403, changed=False)]
    assert check_history(history) == []


def test_a_seal_that_went_back_is_found() -> None:
    history = honest()
    history.writes.append(seal(8, 4))
    assert told(history, "the seals of acme went back: [5, 6, 4]")


def test_a_grant_above_the_cap_is_found() -> None:
    history = honest()
    history.moves[0] = replace(history.moves[0], cap=Decimal(0))
    assert told(history, "1 were out, the cap was 0")


def test_a_lowered_cap_stops_grants_only() -> None:
    history = honest()
    history.moves[1] = replace(history.moves[1], cap=Decimal(0))
    assert check_history(history) == []


def test_moves_that_do_not_add_up_are_found() -> None:
    history = honest()
    history.moves[1] = replace(history.moves[1], reserved=Decimal(3))
    assert told(history, "the row said 3, its moves sum to 0")


def test_a_reservation_that_nobody_gave_back_is_found() -> None:
    history = honest()
    history.reservations.append(
        {"rollout_id": ROLLOUT, "tenant": "acme", "scope": "fleet/inFlight", "amount": Decimal(1)}
    )
    assert told(history, "the reservations sum to 1")


def test_a_budget_whose_row_differs_from_its_moves_is_found() -> None:
    history = honest()
    history.moves.pop()
    history.reservations.append(
        {"rollout_id": ROLLOUT, "tenant": "acme", "scope": "fleet/inFlight", "amount": Decimal(0)}
    )
    assert any("1 by its moves, 0 by its row" in found for found in check_history(history))


@pytest.mark.parametrize(
    ("doctor", "words"),
    [
        ({"rollouts": [{"id": ROLLOUT, "state": "running", "due_at": T0, "not_before": None}]}, "is running"),
        (
            {"targets": [{"rollout_id": ROLLOUT, "tenant": "acme", "state": "apply", "code": "", "reason": ""}]},
            "target acme is apply though its rollout is over",
        ),
        (
            {"targets": [{"rollout_id": ROLLOUT, "tenant": "acme", "state": "stuck", "code": "", "reason": ""}]},
            "does not say why",
        ),
        ({"operations": [{"id": STEP, "state": "running", "waiting_for": [], "problem": None}]}, "is running"),
        ({"operations": [{"id": STEP, "state": "waiting", "waiting_for": [], "problem": None}]}, "is waiting"),
        ({"slots": [{"tenant": "acme", "slot_kind": "rollout", "slot_id": ROLLOUT}]}, "still in the hands of"),
        (
            {
                "intents": [
                    {"principal": "p", "operation": "POST /v1/rollouts", "key": "k", "status": 0, "response": None}
                ]
            },
            "has no answer",
        ),
    ],
)
def test_what_was_left_open_is_found(doctor: dict[str, list[dict[str, object]]], words: str) -> None:
    assert told(replace(honest(), **doctor), words)  # type: ignore[arg-type]  # each row names a field of History


def test_a_step_that_nobody_observed_is_found() -> None:
    history = honest()
    history.steps[0] = replace(history.steps[0], state="ISSUED")
    assert told(history, "is ISSUED")


def test_what_waits_for_a_person_is_not_left_open() -> None:
    paused = {"id": uuid4(), "state": "paused", "due_at": T0, "not_before": None}
    waiting = {"id": uuid4(), "state": "waiting", "waiting_for": [{"who": "platform"}], "problem": None}
    history = honest()
    history.rollouts.append(paused)
    history.operations.append(waiting)
    assert check_history(history) == []


def test_two_drivers_under_one_epoch_are_found() -> None:
    history = honest()
    history.claims.append(Claim("w3", str(ROLLOUT), 2, "2026-03-01T12:00:05Z"))
    assert told(history, "driven twice under one epoch: [1, 2, 2]")


def test_lease_epochs_that_went_back_are_found() -> None:
    history = honest()
    history.claims.reverse()
    assert told(history, "went back: [2, 1]")


def test_a_step_issued_after_a_pause_was_answered_is_found() -> None:
    history = replace(honest(), pauses=[Pause(ROLLOUT, at(-1))])
    assert told(history, "though paused at")


def test_a_step_before_the_answer_or_after_the_resume_is_no_fault() -> None:
    history = replace(honest(), pauses=[Pause(ROLLOUT, at(1)), Pause(ROLLOUT, at(-2), at(-1))])
    assert check_history(history) == []
