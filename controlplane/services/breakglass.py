"""Files that outlive Seawall: what each tenant runs, kept outside and up to date."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta

from controlplane.domain.breakglass import README, GivenApp, GivenEnvironment, files_of, folders_of
from controlplane.domain.tenants import TenantPhase
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.walls_objects import Place
from controlplane.ports.blobs import Blobs
from controlplane.ports.stores.breakglass import VerifiedEnvironment
from controlplane.ports.uow import UnitOfWork
from controlplane.services.tenant_changes import rendered_of

OVERLAP = timedelta(seconds=60)
"""History carries the time its transaction began; none lasts so long."""
AT_ONCE = 100
"""Tenants whose contents are in memory at once."""
_KEPT = {TenantPhase.ACTIVE: 0, TenantPhase.SUSPENDED: 1}

type Open = Callable[[], AbstractAsyncContextManager[UnitOfWork]]
type Folder = tuple[str, Mapping[str, str]]


async def folders(
    open_: Open, tenants: Collection[str] | None = None, *, known: Mapping[tuple[str, str], str] | None = None
) -> AsyncIterator[tuple[VerifiedEnvironment, Sequence[Folder]]]:
    """Give each environment with the folders it should have and those it should not (without files), a batch per transaction.

    `known`: fingerprints of environments whose files are there already; they are left out.
    """
    after = ""
    while True:
        async with open_() as uow:
            rows = await uow.breakglass.environments(tenants, after, AT_ONCE)
            new = [row for row in rows if (known or {}).get((row.tenant, row.environment)) != fingerprint(row)]
            bodies = await uow.breakglass.bodies({(row.tenant, app.content) for row in new for app in row.apps})
            tiers, clusters = (await uow.tenants.tiers(), await uow.tenants.clusters()) if new else ({}, {})
        for row in new:
            yield row, _folders_of(row, bodies, tiers, clusters)
        if not rows:
            return
        after = rows[-1].tenant


def fingerprint(row: VerifiedEnvironment) -> str:
    """What the files of an environment depend on."""
    apps = ",".join(f"{app.app}@{app.revision}:{app.content}" for app in row.apps)
    return f"{row.phase}/{row.walls.get('hash', '')}/{apps}"


def _folders_of(
    row: VerifiedEnvironment,
    bodies: Mapping[tuple[str, str], bytes],
    tiers: Mapping[str, TierSpec],
    clusters: Mapping[str, ClusterSpec],
) -> Sequence[Folder]:
    places = folders_of(row.cluster, row.namespace)
    kept = _KEPT.get(TenantPhase(row.phase)) if row.walls else None
    if kept is None:
        return [(place, {}) for place in places]
    apps = [
        GivenApp(app.app, app.release, app.revision, app.verified_at, rendered_of(bodies[row.tenant, app.content]))
        for app in row.apps
    ]
    name = str(row.walls.get("tier") or row.tier)
    given = GivenEnvironment(
        place=Place(row.tenant, row.environment, row.namespace),
        cluster_name=row.cluster,
        phase=TenantPhase(row.phase),
        tier_name=name,
        tier=tiers.get(name) or TierSpec(),
        cluster=clusters.get(row.cluster) or ClusterSpec(),
        classes=row.walls.get("classes") or (),
        apps=apps,
    )
    return [(place, files_of(given) if n == kept else {}) for n, place in enumerate(places)]


@dataclass
class Keeper:
    """Keeps the files up to date: all at first, then those of tenants with news. One in each worker; their writes are the same."""

    open: Open
    blobs: Blobs
    known: dict[tuple[str, str], str] = field(default_factory=dict)
    began: bool = False

    async def step(self) -> int:
        """Write what changed since the last step; returns how many files. Raises DependencyError; what was not written is tried again."""
        tenants: Collection[str] | None = None
        if self.began:
            async with self.open() as uow:
                tenants = await uow.breakglass.changed(OVERLAP)
            if not tenants:
                return 0
        changed = 0 if self.began else await self.blobs.replace("", {"README.txt": README})
        async for row, wanted in folders(self.open, tenants, known=self.known):
            for folder, files in wanted:
                changed += await self.blobs.replace(folder, files)
            self.known[row.tenant, row.environment] = fingerprint(row)
        self.began = True
        return changed
