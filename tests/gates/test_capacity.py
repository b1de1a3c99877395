"""Capacity: how a gate judges what it was told of nodes, quotas and databases."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.gating import Verdict
from controlplane.gates.burn_rate import BurnRateGate, BurnRateSpec
from controlplane.gates.capacity import CapacityGate, CapacitySpec
from controlplane.gates.metric import MetricGate, MetricSpec
from tests.gates.scenes import NOW, ports, scene

GATE = CapacityGate()
ROOM = {
    "free": {"pods": "40", "requests.cpu": "8", "requests.memory": "16Gi"},
    "needed": {"pods": "4", "requests.cpu": "2", "requests.memory": "4Gi"},
    "short": {},
    "quotas": {},
}
FULL = {**ROOM, "short": {"requests.cpu": "needs 2, 500m is free, 1.5 is missing"}}
AWAY = {"error": "The API server of cluster aks-2 does not answer."}
SPEC = CapacitySpec()


def evidence(databases: list[dict[str, Any]] | None = None, **clusters: Any) -> dict[str, Any]:
    """One tenant on each cluster, of the same name with a `t-` before it."""
    return {
        "clusters": clusters,
        "databases": databases or [],
        "targets": {f"t-{name}": {"cluster": name} for name in clusters},
    }


def test_a_wave_passes_where_every_cluster_has_room_and_waits_with_the_missing_amount_where_one_has_not() -> None:
    assert GATE.judge(SPEC, scene(), evidence(one=ROOM, two=ROOM)).verdict is Verdict.PASS
    said = GATE.judge(SPEC, scene(), evidence(one=ROOM, two=FULL))
    assert said.verdict is Verdict.WAIT
    assert said.reason == "cluster two: requests.cpu needs 2, 500m is free, 1.5 is missing"


def test_a_cluster_that_does_not_answer_is_unknown() -> None:
    said = GATE.judge(SPEC, scene(), evidence(one=ROOM, two=AWAY))
    assert (said.verdict, "does not answer" in said.reason) == (Verdict.UNKNOWN, True)


def test_before_single_targets_each_waits_for_its_own_cluster_and_quota() -> None:
    tight = {
        **ROOM,
        "quotas": {"t-three": {"requests.cpu": "needs 1, 0 is free, 1 is missing"}, "other": {"pods": "x"}},
    }
    each = GATE.judge_each(SPEC, scene(), evidence(one=ROOM, two=FULL, three=tight, four=AWAY))
    assert {tenant: judged.verdict for tenant, judged in each.items()} == {
        "t-one": Verdict.PASS,
        "t-two": Verdict.WAIT,
        "t-three": Verdict.WAIT,
        "t-four": Verdict.UNKNOWN,
    }
    assert each["t-three"].reason == "quota of t-three: requests.cpu needs 1, 0 is free, 1 is missing"


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.4, Verdict.PASS), (0.95, Verdict.WAIT), (None, Verdict.UNKNOWN), ("503", Verdict.UNKNOWN)]
)
def test_a_database_without_headroom_is_waited_for(value: Any, verdict: Verdict) -> None:
    spec = CapacitySpec.model_validate({"databases": [{"use": "postgres-connections"}]})
    error = {"error": value} if isinstance(value, str) else {}
    answer = {"values": [{"tenant": "", "value": value, "at": NOW.isoformat()}], "asked": ["a"], **error}
    said = GATE.judge(spec, scene("a"), evidence([answer], one=ROOM))
    assert said.verdict is verdict, said


async def test_a_process_that_knows_no_clusters_measures_nothing() -> None:
    class Plan:
        class Wave:
            class Target:
                tenant, cluster = "a", "one"

            targets = (Target(),)

        waves = (Wave(),)

    here = scene("a", plan=Plan())
    said = GATE.judge(SPEC, here, await GATE.observe(SPEC, here, ports(None)))
    assert (said.verdict, said.reason) == (
        Verdict.UNKNOWN,
        "could not measure cluster one: this process knows no clusters",
    )


@pytest.mark.parametrize(
    "body", [{"surge": "0%"}, {"surge": "200%"}, {"databases": [{"max": 1}]}, {"interval": "PT0S"}]
)
def test_a_spec_that_makes_no_sense_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CapacitySpec.model_validate(body)


@pytest.mark.parametrize("place", ["before", "beforeEach"])
def test_no_way_back_is_held_up_by_a_lack_of_room_of_measurements_or_of_budget(place: str) -> None:
    here = scene("t-one", place=place, kind="rollback")
    assert GATE.judge(SPEC, here, evidence(one=FULL)).verdict is Verdict.PASS
    assert GATE.judge_each(SPEC, here, evidence(one=FULL))["t-one"].verdict is Verdict.PASS
    nothing: dict[str, Any] = {"values": [], "asked": ["t-one"], "windows": {}}
    metric = MetricSpec.model_validate({"use": "traefik-5xx"})
    assert MetricGate().judge(metric, here, nothing).verdict is Verdict.PASS
    budget = BurnRateSpec.model_validate({"use": "traefik-5xx", "objective": "99.9%"})
    assert BurnRateGate().judge(budget, here, nothing).verdict is Verdict.PASS
    during = scene("t-one", kind="rollback")
    assert MetricGate().judge(metric, during, nothing).verdict is Verdict.UNKNOWN
