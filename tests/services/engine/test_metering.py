"""What is counted while rollouts are driven; labels never name a tenant, a rollout or a release."""

from __future__ import annotations

from prometheus_client import REGISTRY, generate_latest

from .conftest import Stage


def read(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def snapshot() -> dict[str, float]:
    """Every sample of the engine, by name and labels."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if family.name.startswith("seawall_")
    }


async def test_a_rollout_is_counted_from_its_steps_to_its_verified_targets(stage: Stage) -> None:
    before = snapshot()
    stage.rows.release("1.0")
    await stage.tenants(["aaa-shop", "bbb-shop", "ccc-shop"])
    assert await stage.over(await stage.start("1.0")) == "succeeded"
    for runner in stage.runners:
        await runner.drain()
    after = snapshot()

    def grew(name: str, **labels: str) -> float:
        key = f"{name}{sorted(labels.items())}"
        return after.get(key, 0.0) - before.get(key, 0.0)

    assert grew("seawall_targets_total", state="verified") == 3
    assert grew("seawall_steps_issued_total", verb="seal") == 3
    rows = stage.rows.ask("select count(*) from steps")[0][0]
    assert sum(grew("seawall_steps_issued_total", verb=v) for v in ("seal", "apply", "create", "delete")) == rows
    assert grew("seawall_steps_observed_total", outcome="ok") == rows
    assert grew("seawall_steps_total", verb="seal", outcome="ok") == 3
    assert grew("seawall_effect_seconds_count", phase="apply", outcome="ok") == 3
    assert grew("seawall_tick_targets_sum") >= 3
    assert grew("seawall_tick_seconds_count") == grew("seawall_tick_steps_count") > 0
    assert grew("seawall_sweep_late_seconds_count", kind="rollout") == 1
    assert read("seawall_driving", kind="rollout") == 0


async def test_a_candidate_without_a_place_is_counted_by_the_kind_of_budget(stage: Stage) -> None:
    before = read("seawall_budget_refusals_total", why="full", scope="fleet inFlight")
    stage.rows.run(
        "insert into budgets (scope, cap, reserved, closed, version) values ('fleet/inFlight', 1, 0, false, 0)"
    )
    stage.rows.release("1.0")
    await stage.tenants(["a", "b"])
    assert await stage.over(await stage.start("1.0")) == "succeeded"
    assert read("seawall_budget_refusals_total", why="full", scope="fleet inFlight") > before


async def test_no_label_names_a_tenant_a_rollout_or_a_release(stage: Stage) -> None:
    stage.rows.release("9.8.7-unique")
    await stage.tenants(["ddd-shop"])
    rollout = await stage.start("9.8.7-unique")
    assert await stage.over(rollout) == "succeeded"
    text = generate_latest().decode()
    assert [word for word in ("ddd-shop", str(rollout), "9.8.7-unique") if word in text] == []
