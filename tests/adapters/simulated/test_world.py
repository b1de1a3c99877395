"""The simulated fleet itself: time, seeds, faults, snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controlplane.adapters.simulated import FaultRule, Front, Profile, SimulatedCluster, Trouble, VirtualClock, World
from controlplane.adapters.simulated.remote import LocalBackend
from controlplane.adapters.simulated.server import FleetServer
from controlplane.domain.health import Health, WorkloadState, judge_workload
from controlplane.ports.clusters import ClusterUnavailableError, Manifest, NamespaceChange
from tests.contract.fleets import config_map, deployment, fence, job, quota, until


def home(world: World, name: str = "acme") -> str:
    made = world.create_namespace(name, {}, {})
    world.seal(name, made["metadata"]["uid"], 1, "step", "rev", None)
    return name


def workload(world: World, namespace: str, kind: str = "Deployment", name: str = "web") -> Manifest:
    found = world.get(namespace, kind, name)
    assert found is not None
    return found


def available(world: World, namespace: str) -> int:
    return int(workload(world, namespace).get("status", {}).get("availableReplicas", 0))


def test_a_virtual_clock_makes_calls_at_their_time_and_in_order() -> None:
    clock, seen = VirtualClock(), list[tuple[str, float]]()
    clock.call_at(2, lambda: seen.append(("late", clock.now())))

    def early() -> None:
        seen.append(("early", clock.now()))
        clock.call_at(1.5, lambda: seen.append(("new", clock.now())))

    clock.call_at(1, early)
    cancel = clock.call_at(1, lambda: seen.append(("cancelled", clock.now())))
    cancel()
    assert clock.next_at() == 1
    clock.advance(3)
    assert seen == [("early", 1), ("new", 1.5), ("late", 2)]
    assert (clock.now(), clock.next_at()) == (3, None)


def rolled(seed: int) -> list[tuple[float, int]]:
    """(time, available) of a rollout of four pods, step by step."""
    world = World(VirtualClock(), seed=seed)
    clock = world.clock
    assert isinstance(clock, VirtualClock)
    name = home(world)
    world.apply(name, deployment(replicas=4), 1)
    seen = []
    while (due := clock.next_at()) is not None and due < 100:
        clock.advance(due - clock.now())
        seen.append((round(clock.now(), 6), available(world, name)))
    return seen


def test_the_same_seed_gives_the_same_history_and_another_seed_another() -> None:
    assert rolled(7) == rolled(7)
    assert rolled(7) != rolled(8)
    assert rolled(7)[-1][1] == 4


def test_a_rolling_update_never_goes_below_its_replicas_and_waits_for_new_pods() -> None:
    world = World(VirtualClock(), seed=3)
    clock = world.clock
    assert isinstance(clock, VirtualClock)
    name = home(world)
    world.apply(name, deployment(replicas=3), 1)
    clock.advance(10)
    world.apply(name, deployment(image="registry.example/web:2", replicas=3), 1)
    totals = set()
    while (due := clock.next_at()) is not None and due < clock.now() + 60:
        clock.advance(due - clock.now())
        assert available(world, name) >= 3
        totals.add(workload(world, name)["status"]["replicas"])
    assert max(totals) == 4
    assert workload(world, name)["status"]["updatedReplicas"] == 3


def test_rules_of_the_profile_break_a_release_in_the_named_namespaces_only() -> None:
    rule = FaultRule(namespace="brio-*", image="*:17.0.5", fault="never-ready")
    world = World(VirtualClock(), profile=Profile(faults=(rule,)))
    assert isinstance(world.clock, VirtualClock)
    for name in ("brio-it", "acme-fr"):
        world.apply(home(world, name), deployment(image="registry.example/odoo:17.0.5"), 1)
    world.clock.advance(60)
    assert (available(world, "brio-it"), available(world, "acme-fr")) == (0, 1)


def test_pods_that_crash_after_they_were_ready_leave_the_workload_unavailable() -> None:
    world = World(VirtualClock(), seed=1)
    assert isinstance(world.clock, VirtualClock)
    name = home(world)
    world.apply(name, deployment(fault="crash-after-ready"), 1)
    world.clock.advance(0.4)
    assert available(world, name) == 1
    world.clock.advance(2)
    assert available(world, name) == 0
    pods = world.list_objects(name, ["Pod"])
    assert pods[0]["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"


def test_a_fleet_taken_up_again_keeps_what_ran_and_finishes_what_was_under_way() -> None:
    first = World(VirtualClock())
    assert isinstance(first.clock, VirtualClock)
    for name in ("done", "rolling", "leaving"):
        first.apply(home(first, name), deployment(replicas=2), 1)
    first.clock.advance(10)
    first.apply("rolling", deployment(image="registry.example/web:2", replicas=2), 1)
    first.create("rolling", job("migrate", "s"), 1)
    first.terminate("leaving")
    second = World(VirtualClock())
    assert isinstance(second.clock, VirtualClock)
    second.load(first.dump())
    assert available(second, "done") == 2
    worst = 2
    while second.clock.next_at() is not None and second.clock.now() < 10:
        second.clock.advance(0.01)
        worst = min(worst, available(second, "done"))
    assert worst == 2
    assert workload(second, "rolling")["status"]["updatedReplicas"] == 2
    assert workload(second, "rolling", "Job", "migrate")["status"]["conditions"][0]["type"] == "Complete"
    assert second.read_namespace("leaving") is None


def test_a_slow_start_takes_as_long_as_the_template_asks() -> None:
    world = World(VirtualClock())
    assert isinstance(world.clock, VirtualClock)
    name = home(world)
    slow = deployment(fault="slow-start")
    slow["spec"]["template"]["metadata"]["annotations"]["seawall.test/delay"] = "20s"
    world.apply(name, slow, 1)
    world.clock.advance(19.9)
    assert available(world, name) == 0
    world.clock.advance(0.2)
    assert available(world, name) == 1


def test_a_job_that_hangs_never_ends() -> None:
    world = World(VirtualClock())
    assert isinstance(world.clock, VirtualClock)
    name = home(world)
    world.create(name, job("stuck", "s", fault="job-hangs"), 1)
    world.clock.advance(3600)
    assert "conditions" not in workload(world, name, "Job", "stuck")["status"]


def test_a_raised_quota_lets_the_waiting_pods_start() -> None:
    world = World(VirtualClock())
    assert isinstance(world.clock, VirtualClock)
    name = home(world)
    world.apply(name, quota(pods="1"), 1)
    world.apply(name, deployment(replicas=2), 1)
    world.clock.advance(10)
    assert available(world, name) == 1
    world.apply(name, quota(pods="2"), 1)
    world.clock.advance(10)
    assert available(world, name) == 2


async def test_an_hour_of_a_thousand_tenants_passes_at_once_on_a_virtual_clock() -> None:
    clock = VirtualClock()
    world = World(clock, seed=5)
    cluster = SimulatedCluster.in_process("sim", world)
    await cluster.start()
    await cluster.install()
    for number in range(1000):
        made = await cluster.create_namespace(f"t-{number}", {}, {})
        await cluster.seal(made.name, made.uid, fence())
        await cluster.apply(made.name, deployment(), fence())
    clock.advance(3600)
    await until(lambda: cluster.workloads("t-999"))
    assert all(cluster.workloads(f"t-{n}")["Deployment", "web"].available == 1 for n in range(1000))
    await cluster.close()


async def started(front: Front) -> SimulatedCluster:
    cluster = SimulatedCluster("sim", LocalBackend(front), front.world.clock)
    await cluster.start()
    await cluster.install()
    return cluster


async def test_a_stalled_watch_is_not_live_after_15_seconds_and_subscribers_hear_of_it() -> None:
    clock = VirtualClock()
    front = Front(World(clock))
    cluster = await started(front)
    await until(cluster.live)
    heard: list[NamespaceChange] = []
    cluster.subscribe(heard.append)
    front.control("stall")
    clock.advance(14)
    assert cluster.live()
    clock.advance(2)
    assert not cluster.live()
    assert heard == [NamespaceChange("sim", "", liveness=True)]
    front.control("resume")
    await until(cluster.live)
    assert [one.liveness for one in heard] == [True, True]
    await cluster.close()


@pytest.mark.parametrize(
    ("mode", "code", "sent", "took_effect"),
    [
        ("unavailable", "cluster-unavailable", False, False),
        ("busy", "cluster-busy", False, False),
        ("error", "cluster-unavailable", True, False),
        ("lost-answer", "cluster-unavailable", True, True),
    ],
)
async def test_troubles_hit_the_calls_they_name(mode: Any, code: str, sent: bool, took_effect: bool) -> None:
    front = Front(World())
    cluster = await started(front)
    for name in ("hit", "spared"):
        made = await cluster.create_namespace(name, {}, {})
        await cluster.seal(name, made.uid, fence())
    front.troubles.append(Trouble(mode, times=1, namespace="hit", operation="apply", retry_after=3))
    assert (await cluster.apply("spared", config_map(a="1"), fence())).changed
    with pytest.raises(ClusterUnavailableError) as refused:
        await cluster.apply("hit", config_map(a="1"), fence())
    assert (refused.value.code, refused.value.sent) == (code, sent)
    assert refused.value.retry_after == (3 if mode == "busy" else None)
    assert (await cluster.apply("hit", config_map(a="1"), fence())).changed is not took_effect
    await cluster.close()


async def test_two_processes_see_one_fleet_and_a_restart_keeps_it(tmp_path: Path) -> None:
    place, snapshot = f"unix:{tmp_path / 'fleet.sock'}", tmp_path / "fleet.json"
    server = FleetServer(Front(World(seed=1)), place, snapshot)
    await server.start()
    one, two = SimulatedCluster.at("sim", place), SimulatedCluster.at("sim", place)
    await one.start()
    await two.start()
    await one.install()
    await two.prove_fence()
    made = await one.create_namespace("acme", {}, {})
    await two.seal("acme", made.uid, fence(2))
    applied = await one.apply("acme", deployment(), fence(2))

    def healthy(cluster: SimulatedCluster) -> WorkloadState | None:
        state = cluster.workloads("acme").get(("Deployment", "web"))
        return state if state and state.available == 1 and state.uid == applied.ref.uid else None

    assert await until(lambda: healthy(one)) == await until(lambda: healthy(two))
    await server.close()
    await until(lambda: not one.live())
    with pytest.raises(ClusterUnavailableError):
        await one.read_namespace("acme")
    again = FleetServer(Front(World(seed=1)), place, snapshot)
    await again.start()
    await until(one.live)
    seen = await one.read_namespace("acme")
    assert seen is not None
    assert (seen.uid, seen.epoch) == (made.uid, 2)
    await until(lambda: healthy(two))
    for cluster in (one, two):
        await cluster.close()
    await again.close()


def test_a_broken_release_is_judged_unhealthy_only_after_its_deadline() -> None:
    from controlplane.adapters.fleet.states import workload_state
    from controlplane.domain.health import Expected

    world = World(VirtualClock())
    assert isinstance(world.clock, VirtualClock)
    name = home(world)
    broken = deployment(fault="never-ready")
    broken["spec"]["progressDeadlineSeconds"] = 30
    world.apply(name, broken, 1)

    def health() -> Health:
        state = workload_state(workload(world, name))
        return judge_workload(Expected("Deployment", "web", state.uid, state.generation), state).health

    world.clock.advance(29)
    assert health() is Health.PROGRESSING
    world.clock.advance(2)
    assert health() is Health.UNHEALTHY
