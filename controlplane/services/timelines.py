"""After a failover: nothing is dispatched to a cluster until its seals were compared with the registry and what was lost is written again."""

from __future__ import annotations

import structlog

from controlplane.domain.names import INSTALLATION_ANNOTATION, REVISION_ANNOTATION, STEP_ANNOTATION
from controlplane.domain.timelines import (
    REBUILT_KINDS,
    SAYS,
    Difference,
    Rebuilt,
    Seal,
    compare,
    rebuild,
)
from controlplane.ports.clusters import Cluster, ClusterUnavailableError, NamespaceView
from controlplane.ports.meters import SILENT, Meters
from controlplane.ports.timelines import Comparison, Place, Standing, TimelineStore

log = structlog.get_logger(__name__)


class Timelines:
    """Compares clusters, each once per timeline of PostgreSQL, whichever worker comes first."""

    def __init__(self, store: TimelineStore, meters: Meters = SILENT) -> None:
        self._store = store
        self._meters = meters

    async def settle(self, cluster: Cluster) -> Standing:
        """Say where a cluster stands; if it was not compared on this timeline yet, do that first.

        Raises ClusterUnavailableError while the cluster can't be read, DependencyError while PostgreSQL can't.
        """
        standing = await self._store.standing(cluster.name)
        if not standing.pending:
            return standing
        if not cluster.live():
            raise ClusterUnavailableError(
                f"PostgreSQL began timeline {standing.timeline}; cluster {cluster.name} is compared once its watches are proven live."
            )
        comparison = await self._compare(cluster, standing.timeline)
        if await self._store.settle(comparison):
            self._tell(comparison)
        return await self._store.standing(cluster.name)

    async def _compare(self, cluster: Cluster, timeline: int) -> Comparison:
        seals = {view.name: seal_of(view) for view in cluster.namespaces()}
        installation, known = await self._store.known(cluster.name, seals)
        found = compare(known, seals, installation)
        unknown = [(one.tenant, one.environment) for one in found if one.kind == "change-unknown"]
        running = await self._store.running(unknown) if unknown else {}
        rebuilt: dict[Place, list[Rebuilt]] = {}
        differences: list[Difference] = []
        for one in found:
            place = (one.tenant, one.environment)
            if one.kind == "change-unknown":
                objects = await cluster.list_objects(one.namespace, REBUILT_KINDS)
                sealed = seals[one.namespace].revision
                made = [r for app in running.get(place, ()) if (r := rebuild(app, objects, sealed)) is not None]
                if made:
                    rebuilt[place] = made
                    differences += [_unknown_revision(one, r) for r in made]
                    continue
            differences.append(one)
        return Comparison(timeline, cluster.name, len(known), differences, rebuilt)

    def _tell(self, done: Comparison) -> None:
        log.warning(
            "compared a cluster after PostgreSQL began a new timeline",
            cluster=done.cluster,
            timeline=done.timeline,
            environments=done.environments,
            differences=len(done.differences),
        )
        for one in done.differences:
            self._meters.differed(one.kind)
            log.warning(
                "the registry differs from the cluster", kind=one.kind, says=SAYS[one.kind], namespace=one.namespace
            )


def seal_of(view: NamespaceView) -> Seal:
    """A Namespace's seal."""
    notes = view.annotations
    step, revision = notes.get(STEP_ANNOTATION, ""), notes.get(REVISION_ANNOTATION, "")
    return Seal(view.name, view.uid, view.epoch, step, revision, notes.get(INSTALLATION_ANNOTATION, ""))


def _unknown_revision(found: Difference, made: Rebuilt) -> Difference:
    return Difference(
        "revision-unknown",
        found.namespace,
        found.tenant,
        found.environment,
        made.app,
        found.registry_epoch,
        found.seal_epoch,
        found.step,
        made.revision,
    )
