"""Room on nodes, counted as the scheduler does, and what a wave needs of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.capacity import RoomCount, short_of, surge_of

D = Decimal


def node(name: str, cpu: str = "4", memory: str = "8Gi", ready: str = "True", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def pod(node_name: str = "", cpu: str = "1", memory: str = "1Gi", phase: str = "Running") -> dict[str, Any]:
    containers = [{"name": "a", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]
    return {"spec": {"nodeName": node_name, "containers": containers}, "status": {"phase": phase}}


def counted(nodes: list[dict[str, Any]], pods: list[dict[str, Any]]) -> RoomCount:
    count = RoomCount()
    for one in nodes:
        count.node(one)
    for one in pods:
        count.pod(one)
    return count


def test_room_is_allocatable_minus_requests_of_pods_on_nodes_and_of_those_that_wait_for_one() -> None:
    room = counted(
        [node("n1"), node("n2")],
        [pod("n1"), pod("n1", cpu="500m"), pod("", cpu="2"), pod("n2", phase="Succeeded"), pod("gone")],
    ).room()
    assert room.free == {"pods": 217, "requests.cpu": D("4.5"), "requests.memory": 13 * 2**30}
    assert room.largest["requests.cpu"] == 4
    assert (room.nodes, room.shut) == (2, 0)


def test_nodes_that_take_no_new_pods_have_no_room() -> None:
    taint = [{"key": "k", "effect": "NoSchedule"}]
    soft = [{"key": "k", "effect": "PreferNoSchedule"}]
    nodes = [node("cordoned", unschedulable=True), node("ill", ready="Unknown"), node("tainted", taints=taint)]
    room = counted([*nodes, node("soft", taints=soft)], [pod("cordoned", cpu="3")]).room()
    assert (room.nodes, room.shut) == (1, 3)
    assert room.free["requests.cpu"] == 4
    assert counted(nodes, []).room().free["pods"] == 0


def test_the_surge_is_that_of_the_largest_tenants_that_may_be_in_flight_with_pods_in_whole() -> None:
    used = [{"pods": D(p), "requests.cpu": D(c)} for p, c in ((3, "1.5"), (1, "8"), (2, "1"))]
    assert surge_of(used, 2, D("0.25")) == {"pods": 2, "requests.cpu": D("2.375"), "requests.memory": 0}
    assert surge_of([], 5, D(1)) == {"pods": 0, "requests.cpu": 0, "requests.memory": 0}


def test_what_is_short_says_by_how_much_and_what_must_stay_free_counts() -> None:
    room = counted([node("n1")], []).room()
    needed = {"pods": D(1), "requests.cpu": D(3), "requests.memory": D(0)}
    assert short_of(room, needed) == {}
    short = short_of(room, needed, keep=D("0.5"))
    assert {name: (s.needed, s.free) for name, s in short.items()} == {"requests.cpu": (D(3), D(2))}


def test_who_needs_nothing_is_not_short_though_more_is_asked_for_than_there_is() -> None:
    count = counted([node("n1", cpu="1")], [])
    count.pod(pod("", cpu="2"))
    assert count.room().free["requests.cpu"] == D(-1)
    assert short_of(count.room(), {"requests.cpu": D(0)}) == {}
    assert set(short_of(count.room(), {"requests.cpu": D("0.1")})) == {"requests.cpu"}


@given(
    pods=st.lists(st.tuples(st.sampled_from(["n1", "n2", "", "other"]), st.integers(1, 4000)), max_size=30),
    seed=st.randoms(),
)
def test_room_does_not_depend_on_the_order_of_pods_and_shrinks_with_each(
    pods: list[tuple[str, int]], seed: Any
) -> None:
    nodes = [node("n1"), node("n2")]
    listed = [pod(where, cpu=f"{milli}m") for where, milli in pods]
    room = counted(nodes, listed).room()
    seed.shuffle(listed)
    assert counted(nodes, listed).room() == room
    more = counted(nodes, [*listed, pod("n1", cpu="100m")]).room()
    assert more.free["requests.cpu"] == room.free["requests.cpu"] - D("0.1")
