"""Upgrades of clusters, as their nodes show them: noted in history when they begin and end, so that they are candidates for blame."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.domain.disturbance import upgrading
from controlplane.ports.uow import UnitOfWork
from controlplane.services.fleet import Fleet

UNLESS = frozenset({"ignore"})
"""A cluster whose configuration says so is never taken for one under upgrade."""


def seen_upgrades(fleet: Fleet, names: list[str]) -> dict[str, str]:
    """Of clusters that are watched live and whose nodes are known: why each counts as being under upgrade, or an empty string."""
    found = {}
    for name in names:
        cluster = fleet.peek(name) if fleet.serves(name) else None
        if cluster is not None and cluster.live() and cluster.nodes().known:
            found[name] = upgrading(cluster.nodes())
    return found


async def note_upgrades(uow: UnitOfWork, seen: Mapping[str, str]) -> list[str]:
    """Note upgrades that began or ended since the last look; returns the clusters. One process at a time; another's turn is passed over."""
    if not seen or not await uow.blames.turn_to_note():
        return []
    said = {name: spec.upgrade for name, spec in (await uow.tenants.clusters()).items()}
    going = await uow.blames.upgrading(list(seen))
    moved = [name for name, why in seen.items() if bool(why) != (name in going) and said.get(name) not in UNLESS]
    for name in moved:
        why = seen[name]
        await uow.record("upgrade", name, "began" if why else "ended", data={"reason": why} if why else {})
    return moved
