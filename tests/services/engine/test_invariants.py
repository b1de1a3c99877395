"""Counting a tenant's business before and after its change, driven to its end on the simulated fleet."""

from __future__ import annotations

import json
from typing import Any

from controlplane.adapters.simulated.profile import MessageRule, Profile
from controlplane.ports.clusters import Fence
from controlplane.services.probing import FleetProbes
from tests.contract.fleets import until_read
from tests.services.engine.conftest import Stage
from tests.support.charts import IMAGE

WAVE: dict[str, Any] = {"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}}
COUNTER = IMAGE.replace("odoo", "counter")


def gate(**more: Any) -> dict[str, Any]:
    probe = {"image": COUNTER, "command": ["/bin/count"], "deadline": "PT10S"}
    checks = [{"result": "stock"}, {"result": "orders", "is": "not-lower"}]
    return {"invariants": {"name": "stock", "probe": probe, "checks": checks, "interval": "PT1S", **more}}


def says(stage: Stage, **answers: dict[str, float] | str) -> None:
    """What the counting pods of each namespace say from now on."""
    texts = {namespace: a if isinstance(a, str) else json.dumps(a) for namespace, a in answers.items()}
    rules = tuple(MessageRule(namespace=n, image=COUNTER, message=text) for n, text in texts.items())
    stage.world.profile = Profile(messages=rules)


async def installed(stage: Stage, tenants: list[str]) -> None:
    """Tenants that run 1.0, verified; 2.0 is there, and a strategy that counts."""
    stage.rows.config("strategies", "plain", {"waves": [WAVE]})
    stage.rows.config("strategies", "counted", {"waves": [{**WAVE, "beforeEach": [gate()], "after": [gate()]}]})
    stage.rows.release("1.0")
    stage.rows.release("2.0")
    await stage.tenants(tenants)
    assert await stage.over(await stage.start("1.0", "plain")) == "succeeded"


async def test_a_tenant_whose_stock_changed_goes_back_and_the_others_keep_the_release(stage: Stage) -> None:
    await installed(stage, ["a", "b"])
    says(stage, a={"stock": 100, "orders": 7}, b={"stock": 50, "orders": 3})
    rollout = await stage.start("2.0", "counted")

    async def judging() -> bool:
        return stage.rows.ask("select state from waves where rollout_id = %s", rollout) == [("judging",)]

    await until_read(judging)
    says(stage, a={"stock": 100, "orders": 9}, b={"stock": 49, "orders": 3})
    assert await stage.over(rollout) == "failed"
    assert stage.targets(rollout) == {"a": "verified", "b": "rolledBack"}
    before = dict(stage.rows.ask("select tenant, evidence from target_gates where rollout_id = %s", rollout))
    assert before["b"]["target"]["numbers"] == {"stock": 50.0, "orders": 3.0}
    said = stage.rows.ask("select verdict, reason from gates where rollout_id = %s", rollout)
    assert said == [("fail", "1 of 2 tenants: b: stock was 50 and is 49, and must be equal")]
    left = [
        o["metadata"]["name"] for n in ("a", "b") for o in await stage.cluster.list_objects(n, [("batch/v1", "Job")])
    ]
    assert [name for name in left if name.startswith("probe-")] == []


async def test_a_tenant_that_can_not_be_counted_is_not_changed_and_holds(stage: Stage) -> None:
    await installed(stage, ["a", "b"])
    says(stage, a={"stock": 1, "orders": 1}, b="psql: could not connect")
    rollout = await stage.start("2.0", "counted")

    async def held() -> bool:
        rows = stage.rows.ask("select reason from target_gates where rollout_id = %s and verdict = 'unknown'", rollout)
        return bool(rows) and "no JSON" in rows[0][0]

    await until_read(held)
    assert stage.targets(rollout)["b"] == "pending"
    says(stage, a={"stock": 1, "orders": 1}, b={"stock": 2, "orders": 2})
    assert await stage.over(rollout) == "succeeded"


async def test_a_probe_under_an_older_epoch_is_refused_by_the_fence_and_says_so(stage: Stage) -> None:
    from controlplane.domain.probes import ProbeSpec
    from controlplane.ports.probes import ProbePlace

    await stage.tenants(["a"])
    says(stage, a={"stock": 1})
    view = await stage.cluster.read_namespace("a")
    assert view is not None
    await stage.cluster.seal("a", view.uid, Fence(7, "somebody"))
    fleet = stage.gates[0]
    await fleet.proven("aks-1")
    spec = ProbeSpec(image=COUNTER, command=("/bin/count",))
    probes = FleetProbes(fleet)
    late = await probes.run("stock", spec, ProbePlace("a", "production", "aks-1", "a", 6, "late"))
    assert late.error.startswith("fenced: ")
    assert (await probes.run("stock", spec, ProbePlace("a", "production", "aks-1", "a", 7, "now"))).numbers == {
        "stock": 1
    }
    away = await probes.run("stock", spec, ProbePlace("a", "production", "aks-9", "a", 7, "now"))
    assert "not reachable" in away.error
