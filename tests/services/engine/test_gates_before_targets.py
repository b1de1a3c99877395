"""Gates in front of single targets, driven to their end with a kind of gate that a test can turn."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, Never

import pytest

from controlplane.domain.errors import InvalidError
from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.strategies import Strategy
from controlplane.domain.wire import Wire
from controlplane.gates import GATES, check_gates
from controlplane.ports.gates import Evidence, GatePorts, GateScene
from tests.contract.fleets import until_read

from .conftest import Stage


class TurnSpec(Wire):
    """Nothing to say."""


class TurnGate:
    """Says of each tenant what the test wants it to; notes who was asked, look by look."""

    kind = "turn"
    spec = TurnSpec

    def __init__(self) -> None:
        self.says: dict[str, Verdict] = {}
        self.looks: list[tuple[str, ...]] = []
        self.seconds = 0.1

    def interval(self, _spec: TurnSpec) -> float:
        return self.seconds

    async def observe(self, _spec: TurnSpec, scene: GateScene, _ports: GatePorts) -> Evidence:
        self.looks.append(scene.targets)
        await asyncio.sleep(0)
        return {"all": "seen by all", "targets": {t: {"age": len(t)} for t in scene.targets}}

    def judge(self, _spec: TurnSpec, _scene: GateScene, _evidence: Evidence) -> Judged:
        return Judged(Verdict.PASS, "it stands before single targets")

    def judge_each(self, _spec: TurnSpec, scene: GateScene, _evidence: Evidence) -> Mapping[str, Judged]:
        said = {t: self.says.get(t, Verdict.PASS) for t in scene.targets}
        return {t: Judged(verdict, f"told to {verdict}") for t, verdict in said.items()}


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> TurnGate:
    gate = TurnGate()
    monkeypatch.setitem(GATES, gate.kind, gate)
    return gate


async def begin(stage: Stage, tenants: list[str], in_flight: int = 10, **gate: Any) -> uuid.UUID:
    wave = {
        "name": "all",
        "cut": {"percent": "100%"},
        "soak": {"for": "PT0S", "samples": 1},
        "beforeEach": [{"turn": gate}],
    }
    stage.rows.config("strategies", "turned", {"waves": [wave], "limits": {"inFlight": in_flight}})
    stage.rows.release("1.0")
    await stage.tenants(tenants)
    tools = type(stage.tools)(open=stage.tools.open, gates=frozenset(GATES))
    stage.tools = tools
    return await stage.start("1.0", "turned")


async def until_targets(stage: Stage, rollout: uuid.UUID, **wanted: str) -> None:
    async def there() -> bool:
        return {t: s for t, s in stage.targets(rollout).items() if t in wanted} == wanted

    await until_read(there)


async def test_one_that_waits_lets_the_others_pass_and_one_refused_is_left_out(stage: Stage, turn: TurnGate) -> None:
    turn.says = {"a": Verdict.WAIT, "b": Verdict.FAIL, "c": Verdict.UNKNOWN}
    rollout = await begin(stage, ["a", "b", "c", "d", "e"], in_flight=1)
    await until_targets(stage, rollout, a="pending", b="skipped", c="pending", d="verified", e="verified")
    said = stage.rows.ask("select tenant, code, reason from targets where state <> 'verified' order by tenant")
    assert said == [
        ("a", "turn", "told to wait"),
        ("b", "gate-refused", "gate turn: told to fail"),
        ("c", "turn", "told to unknown"),
    ]
    stored = stage.rows.ask("select tenant, verdict, evidence from target_gates order by tenant")
    assert [(t, v) for t, v, _ in stored] == [
        ("a", "wait"),
        ("b", "fail"),
        ("c", "unknown"),
        ("d", "pass"),
        ("e", "pass"),
    ]
    assert {t: e for t, _, e in stored}["d"] == {"all": "seen by all", "target": {"age": 1}}
    turn.says = {}
    assert await stage.over(rollout) == "succeeded"
    assert stage.targets(rollout) == dict.fromkeys("acde", "verified") | {"b": "skipped"}
    assert stage.rows.ask("select count(*) from reservations") == [(0,)]


async def test_nobody_is_asked_before_a_place_is_free_and_all_who_could_start_are_asked_at_once(
    stage: Stage, turn: TurnGate
) -> None:
    turn.seconds = 60.0
    rollout = await begin(stage, list("abcdef"), in_flight=2)
    assert await stage.over(rollout) == "succeeded"
    assert turn.looks[0] == ("a", "b")
    assert max(len(look) for look in turn.looks) == 2


async def test_another_driver_asks_again_whoever_had_passed_and_knows_who_waited(stage: Stage, turn: TurnGate) -> None:
    turn.says = {"a": Verdict.WAIT}
    rollout = await begin(stage, ["a", "b"])
    await until_targets(stage, rollout, a="pending", b="verified")
    since = stage.rows.ask("select since from target_gates where tenant = 'a'")
    await stage.runners[0].drain()
    turn.says = {}
    other = asyncio.create_task(stage.worker("two").sweep_forever())
    assert await stage.over(rollout) == "succeeded"
    assert stage.rows.ask("select since > %s from target_gates where tenant = 'a'", since[0][0]) == [(True,)]
    await stage.runners[1].drain()
    await other


@pytest.mark.parametrize("broken", ["observe", "judge_each", "interval"])
async def test_a_broken_gate_is_unknown_holds_and_fails_only_where_its_limit_says_so(
    stage: Stage, turn: TurnGate, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    class Limited(TurnSpec):
        unknown: dict[str, Any]

    monkeypatch.setattr(turn, "spec", Limited)
    monkeypatch.setattr("controlplane.services.asking.BROKEN_SECONDS", 0.5)
    turn.seconds = 0.5
    monkeypatch.setattr(turn, broken, _mistake)
    rollout = await begin(stage, ["a"], unknown={"seconds": 1, "then": "fail"})

    async def unknown() -> bool:
        return stage.rows.ask("select 1 from target_gates where verdict = 'unknown'") != []

    await until_read(unknown)
    assert await stage.over(rollout) == "failed"
    assert stage.rows.ask("select state, code from targets") == [("skipped", "gate-refused")]


def _mistake(*_: object) -> Never:
    raise RuntimeError("the gate's own mistake")


def test_a_kind_that_gives_no_verdict_for_one_target_is_refused_there() -> None:
    wave = {"name": "all", "cut": {"percent": "100%"}, "beforeEach": [{"approval": {"group": "business"}}]}
    with pytest.raises(InvalidError) as refused:
        check_gates(Strategy.model_validate({"waves": [wave]}))
    assert refused.value.code == "invalid-strategy"
    assert refused.value.errors[0].pointer == "/waves/0/beforeEach/0"
