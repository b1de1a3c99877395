from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.disturbance import (
    Circumstances,
    DependencyView,
    Node,
    Nodes,
    PodView,
    excuse_of,
    upgrading,
)

FLEET = {f"n{i}": Node(f"n{i}", zone=f"z{i % 3}", pool="web", version="v1.36.2", image="img-1") for i in range(6)}


def nodes(gone: tuple[str, ...] = (), **changes: dict[str, Any]) -> Nodes:
    """Six nodes in three zones, some changed, some gone."""
    present = {n: replace(node, **changes.get(n, {})) for n, node in FLEET.items() if n not in gone}
    return Nodes(present, {n: FLEET[n] for n in gone})


def ill(node: str = "n0", namespace: str = "shop") -> PodView:
    return PodView(namespace, node, ready=False)


def well(node: str = "n1", namespace: str = "shop") -> PodView:
    return PodView(namespace, node, ready=True)


def code(found: Nodes, *pods: PodView, **around: Any) -> str:
    excuse = excuse_of(found, Circumstances(pods, **around))
    return excuse.code if excuse else ""


def test_a_release_that_crashes_on_good_nodes_has_no_excuse() -> None:
    assert code(nodes(), ill(), well()) == ""
    assert not nodes().troubled


def test_a_node_that_is_away_excuses_only_pods_that_were_on_it() -> None:
    for found in (nodes(gone=("n0",)), nodes(n0={"ready": False}), nodes(n0={"cordoned": True})):
        assert found.troubled
        assert code(found, ill("n0"), well()) == "node-away"
        assert code(found, ill("n1"), well("n2")) == ""


def test_a_pod_that_finds_no_node_is_excused_while_nodes_are_away() -> None:
    assert code(nodes(gone=("n0",)), ill("")) == "node-away"
    assert code(nodes(), ill("")) == ""


def test_a_zone_is_lost_when_more_than_half_of_its_nodes_are_away() -> None:
    lost = nodes(gone=("n0",), n3={"ready": False})
    excuse = excuse_of(lost, Circumstances((ill("n3"),)))
    assert excuse is not None
    assert (excuse.code, excuse.reason) == ("zone-lost", "zone z0: 2 of 2 nodes are away")
    assert code(lost, ill("n1")) == ""


def test_ready_pods_on_a_node_that_is_away_excuse_nothing() -> None:
    assert code(nodes(n0={"cordoned": True}), PodView("shop", "n0", ready=True), ill("n1")) == ""


@pytest.mark.parametrize(
    ("sick", "healthy", "expected"),
    [(3, 3, "neighbours-ill"), (3, 4, ""), (2, 0, "")],
    ids=["half", "fewer", "too few"],
)
def test_neighbours_nobody_touches_are_witnesses(sick: int, healthy: int, expected: str) -> None:
    beside = [ill("n0", f"a{n}") for n in range(sick)] + [well("n0", f"b{n}") for n in range(healthy)]
    assert code(nodes(), ill("n0"), neighbours=beside) == expected


def test_tenants_that_are_changed_now_are_no_witnesses_and_neither_are_pods_elsewhere() -> None:
    beside = [ill("n0", f"a{n}") for n in range(5)]
    around = Circumstances((ill("n0"),), beside)
    assert excuse_of(nodes(), around, frozenset(f"a{n}" for n in range(5))) is None
    assert excuse_of(nodes(), Circumstances((ill("n1"),), beside)) is None


def test_a_dependency_that_is_ill_excuses_and_says_how() -> None:
    views = [DependencyView("search"), DependencyView("redis", "0 of 1 pods available")]
    excuse = excuse_of(nodes(), Circumstances((ill(),), dependencies=views))
    assert excuse is not None
    assert (excuse.code, excuse.reason) == ("dependency-ill", "its dependency redis: 0 of 1 pods available")


def test_what_could_not_be_asked_is_unknown_never_an_acquittal_nor_a_verdict() -> None:
    assert code(nodes(), unknown="no answer in time") == "circumstances-unknown"


def test_nodes_that_could_not_be_read_are_reason_to_ask_but_no_excuse() -> None:
    blind = Nodes({}, {}, known=False)
    assert blind.troubled
    assert code(blind, ill()) == ""


@given(st.lists(st.tuples(st.sampled_from(sorted(FLEET)), st.booleans()), max_size=8))
def test_on_nodes_without_fault_nothing_is_ever_excused(pods: list[tuple[str, bool]]) -> None:
    assert code(nodes(), *(PodView("shop", node, ready) for node, ready in pods)) == ""


def test_a_cluster_is_under_upgrade_while_a_node_is_cordoned_or_one_pool_is_mixed() -> None:
    assert upgrading(nodes()) == ""
    assert upgrading(Nodes()) == ""
    assert upgrading(nodes(n2={"cordoned": True})) == "node n2 is cordoned"
    assert upgrading(nodes(n2={"version": "v1.37.0"})) == "pool web has nodes of 2 versions: v1.36.2, v1.37.0"
    assert upgrading(nodes(n2={"image": "img-2"})) == "pool web has nodes of 2 images: img-1, img-2"


def test_pools_may_differ_for_ever_and_a_node_without_a_label_says_nothing() -> None:
    assert upgrading(nodes(n2={"pool": "batch", "version": "v1.35.0"})) == ""
    assert upgrading(nodes(n2={"image": "", "version": ""})) == ""
