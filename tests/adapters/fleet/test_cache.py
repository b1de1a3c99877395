"""The cache that watches fill."""

from __future__ import annotations

from typing import Any

from controlplane.adapters.fleet.cache import STALE_AFTER, FleetCache
from controlplane.ports.clusters import NamespaceChange


class Hand:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[FleetCache, Hand, list[NamespaceChange]]:
    hand, seen = Hand(), list[NamespaceChange]()
    cache = FleetCache("c", hand, ["Deployment", "Job"])
    cache.subscribe(seen.append)
    return cache, hand, seen


def deployment(namespace: str, name: str, updated: int = 1) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": name, "uid": f"{namespace}/{name}", "generation": 1}
    return {"kind": "Deployment", "metadata": meta, "spec": {}, "status": {"updatedReplicas": updated}}


def test_nothing_is_live_until_every_kind_has_echoed() -> None:
    cache, _, seen = made()
    cache.echo("Deployment")
    assert not cache.live()
    assert cache.silent() == ["Job"]
    cache.echo("Job")
    assert cache.live()
    assert seen == [NamespaceChange("c", "", liveness=True)]


def test_an_echo_counts_from_when_its_beat_was_sent() -> None:
    cache, hand, _ = made()
    cache.echo("Job")
    cache.echo("Deployment", at=hand.now - STALE_AFTER - 1)
    assert not cache.live()
    cache.echo("Deployment", at=hand.now - STALE_AFTER + 1)
    assert cache.live()
    hand.now += 2
    assert not cache.live()


def test_an_old_echo_does_not_take_back_a_newer_one() -> None:
    cache, hand, _ = made()
    cache.echo("Job")
    cache.echo("Deployment")
    cache.echo("Deployment", at=hand.now - 100)
    assert cache.live()


def test_only_changes_are_told() -> None:
    cache, _, seen = made()
    for updated in (1, 1, 2):
        cache.put(deployment("a", "web", updated))
    assert seen == [NamespaceChange("c", "a", "Deployment", "web")] * 2


def test_a_new_list_forgets_what_is_not_in_it_and_tells() -> None:
    cache, _, seen = made()
    cache.replace("Deployment", [deployment("a", "web"), deployment("b", "web")])
    seen.clear()
    cache.replace("Deployment", [deployment("b", "web")])
    assert seen == [NamespaceChange("c", "a", "Deployment", "web")]
    assert (cache.workloads("a"), len(cache.workloads("b"))) == ({}, 1)


def test_a_subscriber_that_fails_does_not_blind_the_others() -> None:
    cache = FleetCache("c", Hand(), ["Deployment"])
    seen: list[NamespaceChange] = []

    def broken(change: NamespaceChange) -> None:
        raise RuntimeError(change.name)

    cache.subscribe(broken)
    cache.subscribe(seen.append)
    cache.put(deployment("a", "web"))
    assert len(seen) == 1


def test_what_a_caller_does_to_its_copy_is_its_own_affair() -> None:
    cache, _, _ = made()
    cache.put(deployment("a", "web"))
    cache.workloads("a").clear()
    assert len(cache.workloads("a")) == 1
