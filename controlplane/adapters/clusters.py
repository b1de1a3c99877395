"""All clusters that a process may dispatch to, by name, from one YAML file.

    aks-frc-1: {kind: kubernetes, kubeconfig: ~/.kube/config, context: aks-frc-1}
    here:      {kind: kubernetes}                  # the ServiceAccount of the pod this runs in
    demo:      {kind: simulated, address: "unix:/run/seawall/fleet.sock"}

A new kind of cluster is one file with its access and one line in `Access`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import structlog
import yaml
from pydantic import Field, TypeAdapter, ValidationError

from controlplane.adapters.kubernetes.access import KubernetesAccess
from controlplane.adapters.simulated.access import SimulatedAccess
from controlplane.domain.errors import DependencyError
from controlplane.domain.names import Name
from controlplane.ports.clusters import Cluster

type Access = Annotated[
    KubernetesAccess | SimulatedAccess,
    Field(discriminator="kind"),
]
"""How to reach one cluster."""

_FILE: TypeAdapter[dict[Name, Access]] = TypeAdapter(dict[Name, Access])
_log = structlog.get_logger(__name__)


def read_clusters(path: Path) -> dict[str, Access]:
    """Read the file. Raises `DependencyError` (`clusters-misconfigured`) that names each fault."""
    try:
        return _FILE.validate_python(yaml.safe_load(path.read_text()) or {})
    except (OSError, yaml.YAMLError) as error:
        raise _misconfigured(path, str(error)) from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise _misconfigured(path, faults) from error


def _misconfigured(path: Path, why: str) -> DependencyError:
    detail = f"The file of clusters {path} can't be used: {why}. Correct it and start again."
    return DependencyError(detail, code="clusters-misconfigured")


class ClusterRegistry:
    """Starts a cluster when it is first asked for. `ready` are clusters that somebody else has started already."""

    def __init__(self, access: Mapping[str, Access], ready: Iterable[Cluster] = ()) -> None:
        self._access = dict(access)
        self._started: dict[str, Cluster] = {one.name: one for one in ready}
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All configured clusters."""
        return tuple(sorted({*self._access, *self._started}))

    async def get(self, name: str) -> Cluster:
        """See `Clusters.get`. A start that failed is tried again by the next call."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            if name not in self._started:
                self._started[name] = await self._start(name)
            return self._started[name]

    def peek(self, name: str) -> Cluster | None:
        """See `Clusters.peek`."""
        return self._started.get(name)

    async def close(self) -> None:
        """See `Clusters.close`."""
        started, self._started = self._started, {}
        for cluster in started.values():
            await cluster.close()

    async def _start(self, name: str) -> Cluster:
        access = self._access.get(name)
        if access is None:
            known = ", ".join(self.names) or "none"
            detail = f"This process knows no cluster {name}; it knows: {known}. Add it to the file of clusters."
            raise DependencyError(detail, code="cluster-not-configured")
        cluster = await access.connect(name)
        try:
            await cluster.start()
        except BaseException:
            await cluster.close()
            raise
        _log.info("cluster started", cluster=name, kind=cluster.kind)
        return cluster
