"""The loop that writes what the cached watches see of each environment: what `status` answers without asking the fleet."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

import structlog

from controlplane.domain.errors import DependencyError
from controlplane.domain.health import Health
from controlplane.domain.observed import UNSEEN, Observation, observe_environment
from controlplane.ports.clusters import Cluster, NamespaceChange
from controlplane.ports.stores.tenants import PlaceRow, SeenRow
from controlplane.ports.uow import Transactions
from controlplane.services.fleet import Fleet

LOOK_SECONDS = 1.0
"""Changes of a second are written together."""
AGAIN_SECONDS = 30.0
"""So often an unchanged environment is written again, so that `asOf` says how fresh it is."""
PLACES_SECONDS = 5.0
_MOST = 500
"""Environments written in one transaction."""

log = structlog.get_logger(__name__)


class Observer:
    """What was written last, and which namespaces changed since."""

    def __init__(self, transactions: Transactions, fleet: Fleet) -> None:
        self._transactions = transactions
        self._fleet = fleet
        self._places: list[PlaceRow] = []
        self._places_at = float("-inf")
        self._written: dict[tuple[str, str], tuple[Observation, float]] = {}
        self._watched: dict[str, Callable[[], None]] = {}
        self._changed: set[tuple[str, str]] = set()

    async def look(self) -> int:
        """Write what changed or grew old; returns how many environments were written."""
        await self._read_places()
        changed, self._changed = self._changed, set()
        rows = {(p.tenant, p.environment): self._see(p) for p in self._due(changed)}
        written = 0
        for batch in _batches([p for p, seen in rows.items() if self._differs(p, seen)]):
            async with self._transactions.engine() as uow:
                if not await uow.tenants.seen([_row(place, rows[place]) for place in batch]):
                    self._changed |= changed
                    return written
            self._written |= {place: (rows[place], time.monotonic()) for place in batch}
            written += len(batch)
        return written

    def close(self) -> None:
        """End the subscriptions."""
        for end in self._watched.values():
            end()

    async def _read_places(self) -> None:
        if time.monotonic() < self._places_at + PLACES_SECONDS:
            return
        async with self._transactions.engine() as uow:
            self._places = [p for p in await uow.tenants.places() if self._fleet.serves(p.cluster)]
        self._places_at = time.monotonic()

    def _due(self, changed: set[tuple[str, str]]) -> Iterable[PlaceRow]:
        """Places that changed, that were never written, or whose last word grew old."""
        old = time.monotonic() - AGAIN_SECONDS
        for place in self._places:
            _, at = self._written.get((place.tenant, place.environment), (None, float("-inf")))
            if at < old or (place.cluster, place.namespace) in changed:
                yield place

    def _see(self, place: PlaceRow) -> Observation:
        cluster = self._cluster(place.cluster)
        if cluster is None or not cluster.live():
            return Observation(Health.UNKNOWN, f"cluster {place.cluster} is not being watched", UNSEEN)
        if cluster.namespace(place.namespace) is None:
            return Observation(Health.UNKNOWN, "its namespace is not seen", UNSEEN)
        workloads, quota = cluster.workloads(place.namespace), cluster.quota(place.namespace)
        return observe_environment(workloads, quota, installed=place.installed)

    def _cluster(self, name: str) -> Cluster | None:
        cluster = self._fleet.peek(name)
        if cluster is not None and name not in self._watched:
            self._watched[name] = cluster.subscribe(self._on_change)
        return cluster

    def _on_change(self, change: NamespaceChange) -> None:
        self._changed.add((change.cluster, change.namespace))

    def _differs(self, place: tuple[str, str], seen: Observation) -> bool:
        last, at = self._written.get(place, (None, float("-inf")))
        return seen != last or at < time.monotonic() - AGAIN_SECONDS


def _row(place: tuple[str, str], seen: Observation) -> SeenRow:
    return SeenRow(*place, seen.health.value, seen.reason, seen.quota)


def _batches(places: list[tuple[str, str]]) -> Iterable[list[tuple[str, str]]]:
    return (places[n : n + _MOST] for n in range(0, len(places), _MOST))


async def observe_forever(transactions: Transactions, fleet: Fleet, draining: asyncio.Event) -> None:
    """Look once a second until the process drains."""
    observer = Observer(transactions, fleet)
    try:
        while not draining.is_set():
            try:
                await observer.look()
            except DependencyError as error:
                log.warning("what was seen could not be written, will try again", code=error.code, detail=error.detail)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(draining.wait(), LOOK_SECONDS)
    finally:
        observer.close()
