"""Writing the fence into a cluster, and seeing it refuse before anything is dispatched there."""

from __future__ import annotations

import asyncio
import time

from controlplane.adapters.kubernetes.errors import to_error
from controlplane.adapters.kubernetes.fence_policies import FENCE_POLICY, MARKS_POLICY
from controlplane.adapters.kubernetes.heartbeat import heartbeat_objects
from controlplane.adapters.kubernetes.identities import (
    FIELD_MANAGER,
    PROBE_EPOCH,
    PROBE_NAMESPACE,
    STRANGER,
    SYSTEM_NAMESPACE,
    writer,
)
from controlplane.adapters.kubernetes.install import administrator_objects, object_path
from controlplane.adapters.kubernetes.resources import Resources
from controlplane.adapters.kubernetes.transport import APPLY, MERGE, Answer, RefusedError, Request, Transport
from controlplane.domain.errors import DependencyError
from controlplane.domain.names import EPOCH_ANNOTATION, FENCED_LABEL, MANAGED_LABEL
from controlplane.ports.clusters import Manifest, NamespaceGoneError, RejectedError

_SETTLE = 30.0
"""Seconds for new roles and policies to act; about one is usual."""
_ACTS = 5.0
"""Seconds for the probe's seal to reach the admission plugin's cache of Namespaces; milliseconds are usual."""
_LOOK = 0.1
_PROBES = f"/api/v1/namespaces/{PROBE_NAMESPACE}/configmaps"


class FenceControl:
    """Installs and proves the fence of one cluster."""

    def __init__(self, transport: Transport, resources: Resources, cluster: str) -> None:
        self._transport = transport
        self._resources = resources
        self._cluster = cluster
        self._prepared = False

    async def install(self) -> None:
        """See `Cluster.install`. Writes as the kubeconfig's own user, then, where marks are set, as the worker."""
        for manifest in administrator_objects():
            await self._apply(object_path(manifest), manifest, {}, 0)
        await self._own_objects(_SETTLE)
        await self._settled(_SETTLE)
        self._prepared = True

    async def prove(self) -> None:
        """See `Cluster.prove_fence`. The first proof of a process also writes what the worker itself may: marks and heartbeats."""
        if not self._prepared:
            try:
                await self._own_objects(0)
            except (RejectedError, NamespaceGoneError) as error:
                detail = f"Seawall is not installed on cluster {self._cluster}, or not whole: {error.detail}"
                raise DependencyError(detail, code="fence-unproven") from error
            await self._settled(_ACTS)
            self._prepared = True
        passed = await self._passed()
        if passed:
            raise self._unproven(passed)

    async def _own_objects(self, patience: float) -> None:
        """What carries marks, which only the worker may write: the mark on its own namespace, the probe's seal, the heartbeats."""
        await self._marked(SYSTEM_NAMESPACE, 0, {MANAGED_LABEL: "true"}, {}, patience)
        probe = {EPOCH_ANNOTATION: str(PROBE_EPOCH)}
        await self._marked(PROBE_NAMESPACE, PROBE_EPOCH, {FENCED_LABEL: "true"}, probe, patience)
        headers = writer(0, "platform", SYSTEM_NAMESPACE)
        for manifest in heartbeat_objects():
            kind, name = manifest["kind"], manifest["metadata"]["name"]
            path = await self._resources.path(SYSTEM_NAMESPACE, manifest["apiVersion"], kind, name)
            await self._apply(path, manifest, headers, patience)

    async def _settled(self, within: float) -> None:
        """Wait until both policies refuse; raises `DependencyError` (`fence-unproven`) if they don't."""
        deadline = time.monotonic() + within
        while passed := await self._passed():
            if time.monotonic() > deadline:
                raise self._unproven(passed)
            await asyncio.sleep(_LOOK)  # a policy takes about a second to act, and nothing tells when it does

    async def _passed(self) -> list[str]:
        """Probes, as dry runs that admission sees like any other write: what was not refused by the policy meant to."""
        plain: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}}
        marked = {**plain, "metadata": {"name": "probe", "labels": {MANAGED_LABEL: "true"}}}
        stale = writer(PROBE_EPOCH - 1, "platform", PROBE_NAMESPACE)
        passed = []
        if not await self._refused(plain, stale, FENCE_POLICY):
            passed.append(FENCE_POLICY)
        if not await self._refused(marked, {"Impersonate-User": STRANGER}, MARKS_POLICY):
            passed.append(MARKS_POLICY)
        return passed

    async def _refused(self, body: Manifest, headers: dict[str, str], policy: str) -> bool:
        request = Request("POST", _PROBES, f"probe {policy}", headers, {"dryRun": "All"}, body)
        try:
            await self._transport.call(request)
        except RefusedError as refused:
            return refused.refusal.status == 403 and f"'{policy}'" in refused.refusal.message
        return False

    def _unproven(self, passed: list[str]) -> DependencyError:
        detail = (
            f"Cluster {self._cluster} did not refuse a probe by {' and '.join(passed)}. "
            "Install the fence there; until it refuses, nothing is dispatched to this cluster."
        )
        return DependencyError(detail, code="fence-unproven")

    async def _apply(self, path: str, manifest: Manifest, headers: dict[str, str], patience: float) -> None:
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        what = f"install {manifest['kind']} {manifest['metadata']['name']}"
        await self._patiently(Request("PATCH", path, what, headers, query, manifest, APPLY), patience)

    async def _marked(
        self, name: str, epoch: int, labels: dict[str, str], notes: dict[str, str], patience: float
    ) -> None:
        body = {"metadata": {"labels": labels, "annotations": notes}}
        headers = writer(epoch, "platform", name)
        request = Request("PATCH", f"/api/v1/namespaces/{name}", f"mark namespace {name}", headers, {}, body, MERGE)
        await self._patiently(request, patience)

    async def _patiently(self, request: Request, patience: float) -> Answer:
        """Call; for `patience` seconds, a new role or a policy being replaced may refuse."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return await self._transport.call(request)
            except RefusedError as refused:
                if refused.refusal.status not in (403, 409) or time.monotonic() > deadline:
                    raise to_error(refused.refusal, request.what) from refused
                await asyncio.sleep(_LOOK)  # the authorizer's cache follows in its own time, and nothing tells when
