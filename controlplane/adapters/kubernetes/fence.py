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
from controlplane.ports.clusters import Manifest

_SETTLE = 30.0
"""Seconds for new roles and policies to act; about one is usual."""
_LOOK = 0.1
_PROBES = f"/api/v1/namespaces/{PROBE_NAMESPACE}/configmaps"


class FenceControl:
    """Installs and proves the fence of one cluster."""

    def __init__(self, transport: Transport, resources: Resources, cluster: str) -> None:
        self._transport = transport
        self._resources = resources
        self._cluster = cluster

    async def install(self) -> None:
        """See `Cluster.install`. Writes as the kubeconfig's own user, then, where marks are set, as the worker."""
        for manifest in administrator_objects():
            await self._apply(object_path(manifest), manifest, {})
        await self._marked(SYSTEM_NAMESPACE, 0, {MANAGED_LABEL: "true"}, {})
        probe = {EPOCH_ANNOTATION: str(PROBE_EPOCH)}
        await self._marked(PROBE_NAMESPACE, PROBE_EPOCH, {FENCED_LABEL: "true"}, probe)
        headers = writer(0, "platform", SYSTEM_NAMESPACE)
        for manifest in heartbeat_objects():
            kind, name = manifest["kind"], manifest["metadata"]["name"]
            path = await self._resources.path(SYSTEM_NAMESPACE, manifest["apiVersion"], kind, name)
            await self._apply(path, manifest, headers)
        deadline = time.monotonic() + _SETTLE
        while passed := await self._passed():
            if time.monotonic() > deadline:
                raise self._unproven(passed)
            await asyncio.sleep(_LOOK)  # a policy takes about a second to act, and nothing tells when it does

    async def prove(self) -> None:
        """See `Cluster.prove_fence`."""
        passed = await self._passed()
        if passed:
            raise self._unproven(passed)

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

    async def _apply(self, path: str, manifest: Manifest, headers: dict[str, str]) -> None:
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        what = f"install {manifest['kind']} {manifest['metadata']['name']}"
        await self._patiently(Request("PATCH", path, what, headers, query, manifest, APPLY))

    async def _marked(self, name: str, epoch: int, labels: dict[str, str], notes: dict[str, str]) -> None:
        body = {"metadata": {"labels": labels, "annotations": notes}}
        headers = writer(epoch, "platform", name)
        request = Request("PATCH", f"/api/v1/namespaces/{name}", f"mark namespace {name}", headers, {}, body, MERGE)
        await self._patiently(request)

    async def _patiently(self, request: Request) -> Answer:
        """Call; a new role, or a policy being replaced, may refuse for a moment."""
        deadline = time.monotonic() + _SETTLE
        while True:
            try:
                return await self._transport.call(request)
            except RefusedError as refused:
                if refused.refusal.status not in (403, 409) or time.monotonic() > deadline:
                    raise to_error(refused.refusal, request.what) from refused
                if not request.headers:
                    raise to_error(refused.refusal, request.what) from refused
                await asyncio.sleep(_LOOK)  # the authorizer's cache follows in its own time, and nothing tells when
