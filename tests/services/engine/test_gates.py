"""Gates in front of, during and after waves, driven to their end."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.domain.errors import ConflictError, ForbiddenError
from controlplane.domain.gating import GateKey, Judged, Verdict
from controlplane.domain.plans import Plan
from controlplane.gates.metric import MetricGate, MetricSpec
from controlplane.ports.gates import GateScene
from controlplane.services.approvals import Ballot, Voter, withdraw
from controlplane.services.approvals import vote as cast_vote
from tests.contract.fleets import until_read

from .conftest import Stage

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ASKED: dict[str, Any] = {
    "waves": [
        {
            "name": "pilot",
            "cut": {"count": 1},
            "soak": {"for": "PT0S", "samples": 1},
            "after": [{"approval": {"group": "business", "count": 2}}],
        },
        {"name": "rest", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}},
    ]
}


async def vote(stage: Stage, rollout: uuid.UUID, person: str, group: str = "business", plan_hash: str = "") -> int:
    planned = stage.rows.ask("select plan_hash from rollouts where id = %s", rollout)[0][0]
    async with stage.transactions.platform() as uow:
        ballot = Ballot(group, None, plan_hash or planned)
        return len(await cast_vote(uow, rollout, ballot, Voter(person, groups={group})))


async def waiting(stage: Stage, rollout: uuid.UUID) -> None:
    async def asked() -> bool:
        return (
            stage.rows.ask(
                "select verdict, reason from gates where rollout_id = %s and reason like '%%of 2%%'", rollout
            )
            != []
        )

    await until_read(asked)


@pytest.fixture
async def rollout(stage: Stage) -> uuid.UUID:
    """A rollout whose second wave needs two people of group business."""
    stage.rows.config("strategies", "asked", ASKED)
    stage.rows.release("1.0", provenance={"repository": "r", "commit": "4c1d", "authors": ["leo@acme.example"]})
    await stage.tenants(["a", "b", "c"])
    made = await stage.start("1.0", "asked")
    await waiting(stage, made)
    return made


async def test_a_wave_waits_for_two_people_and_then_the_next_one_starts(stage: Stage, rollout: uuid.UUID) -> None:
    assert sorted(stage.targets(rollout).values()) == ["pending", "pending", "verified"]
    assert await vote(stage, rollout, "ann") == 1
    assert await vote(stage, rollout, "ann") == 0
    assert await vote(stage, rollout, "ben") == 1
    assert await stage.over(rollout) == "succeeded"
    said = stage.rows.ask("select verdict, reason from gates where rollout_id = %s", rollout)
    assert said == [("pass", "approved by ann, ben")]


async def test_the_requester_an_author_a_stranger_and_another_plan_are_refused(
    stage: Stage, rollout: uuid.UUID
) -> None:
    for person in ("mia", "leo@acme.example"):
        with pytest.raises(ForbiddenError) as refused:
            await vote(stage, rollout, person)
        assert refused.value.code == "own-change"
    with pytest.raises(ConflictError) as changed:
        await vote(stage, rollout, "ann", plan_hash="sha256:" + "0" * 64)
    assert changed.value.code == "plan-changed"
    planned = stage.rows.ask("select plan_hash from rollouts where id = %s", rollout)[0][0]
    async with stage.transactions.platform() as uow:
        with pytest.raises(ForbiddenError) as stranger:
            await cast_vote(uow, rollout, Ballot("business", None, planned), Voter("zoe", groups={"application"}))
    assert stranger.value.code == "not-in-group"
    await stage.command(rollout, "abort")
    assert await stage.over(rollout) == "aborted"


async def test_a_withdrawn_vote_does_not_count(stage: Stage, rollout: uuid.UUID) -> None:
    await vote(stage, rollout, "ann")
    mine = stage.rows.ask("select id from votes")[0][0]
    async with stage.transactions.platform() as uow:
        await withdraw(uow, rollout, mine, Voter("ann"))
    await asyncio.gather(vote(stage, rollout, "ben"), vote(stage, rollout, "cem"))
    assert await stage.over(rollout) == "succeeded"
    assert stage.rows.ask("select reason from gates") == [("approved by ben, cem",)]


async def test_a_metric_gate_without_a_source_is_unknown_and_holds(stage: Stage) -> None:
    gate = {"metric": {"query": "up", "max": 1}}
    stage.rows.config(
        "strategies",
        "measured",
        {**ASKED, "waves": [{**ASKED["waves"][0], "after": [gate], "cut": {"percent": "100%"}}]},
    )
    stage.rows.release("1.0")
    await stage.tenants(["a"])
    rollout = await stage.start("1.0", "measured")

    async def unknown() -> bool:
        return stage.rows.ask("select reason from gates where verdict = 'unknown'") != []

    await until_read(unknown)
    assert stage.state(rollout) == "running"
    assert stage.rows.ask("select reason from gates") == [("could not measure: no metric source is configured",)]
    await stage.command(rollout, "abort")
    assert await stage.over(rollout) == "aborted"


def scene(plan: Plan | None = None, **changes: Any) -> GateScene:
    values: dict[str, Any] = {
        "rollout_id": uuid.UUID(int=1),
        "key": GateKey(0, "during", 0),
        "plan": plan,
        "requested_by": "mia",
        "authors": (),
        "changed": ("a", "b"),
        "since": NOW,
        "now": NOW,
    }
    return GateScene(**{**values, **changes})


def measured(*values: tuple[str, float | None], looks: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "values": [{"tenant": t, "value": v, "at": NOW.isoformat()} for t, v in values],
        "looks": list(looks),
        **more,
    }


SPEC = MetricSpec.model_validate({"query": "q", "max": 0.01, "samples": 2})


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (measured(("a", 0.001)), Verdict.WAIT),
        (measured(("a", 0.001), looks=("good",)), Verdict.PASS),
        (measured(("a", 0.001), looks=("good", "unknown")), Verdict.WAIT),
        (measured(("a", 0.5)), Verdict.FAIL),
        (measured(), Verdict.UNKNOWN),
        (measured(("a", None)), Verdict.UNKNOWN),
        (measured(("", 0.0), ("", 0.0)), Verdict.UNKNOWN),
        (measured(error="503"), Verdict.UNKNOWN),
    ],
)
def test_a_metric_passes_after_enough_good_looks_and_never_without_a_measurement(
    evidence: dict[str, Any], verdict: Verdict
) -> None:
    assert MetricGate().judge(SPEC, scene(), evidence).verdict is verdict


def test_a_failed_metric_names_the_tenants_to_blame() -> None:
    judged = MetricGate().judge(SPEC, scene(), measured(("a", 0.001), ("b", 0.04)))
    assert judged == Judged(Verdict.FAIL, "0.04 > 0.01 (b)", tenants=("b",), look="bad b")


def test_a_sample_that_is_too_old_is_no_measurement() -> None:
    late = scene(now=datetime(2026, 11, 23, 10, 0, tzinfo=UTC))
    assert MetricGate().judge(SPEC, late, measured(("a", 0.0), looks=("good",))).verdict is Verdict.UNKNOWN
