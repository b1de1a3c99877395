"""The three fleets that `seawall up` can drive, each behind the same few calls."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from controlplane.adapters.embedded.processes import Child, accepts
from controlplane.cli.failures import UsageError
from controlplane.domain.errors import DependencyError

from .ports import kept_port

type Say = Callable[[str], None]


class FleetKind(StrEnum):
    """Which fleet: a simulation, a real control plane on this machine, or the cluster of $KUBECONFIG."""

    SIMULATED = "simulated"
    LOCAL = "local"
    KUBECONFIG = "kubeconfig"


class LocalFleet(Protocol):
    """A fleet of one cluster for the time that the parent process lives."""

    @property
    def cluster(self) -> str:
        """The cluster's name in the registry."""
        ...

    @property
    def title(self) -> str:
        """What every screen calls it."""
        ...

    def start(self) -> None:
        """Start what has to run here; returns when it answers."""
        ...

    def access(self) -> dict[str, Any]:
        """How processes reach it: a line of the file of clusters."""
        ...

    def check(self) -> None:
        """Raise DependencyError if a part of it has ended."""
        ...

    def stop(self) -> None:
        """End what runs here."""
        ...


class Simulated:
    """The simulated fleet as a process of its own, so that the API and all workers see the same one."""

    cluster = "simulated"
    title = "SIMULATED"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = kept_port(folder / "port")
        self._child: Child | None = None

    def start(self) -> None:
        """See `LocalFleet.start`."""
        listen, snapshot = f"127.0.0.1:{self._port}", str(self._folder / "snapshot.json")
        argv = [sys.executable, "-m", "controlplane.adapters.simulated", "--listen", listen, "--snapshot", snapshot]
        self._child = Child("the simulated fleet", argv, self._folder / "fleet.log")
        self._child.await_ready(lambda: accepts(self._port))

    def access(self) -> dict[str, Any]:
        """See `LocalFleet.access`."""
        return {"kind": "simulated", "address": f"127.0.0.1:{self._port}"}

    def check(self) -> None:
        """See `LocalFleet.check`."""
        if self._child is not None and not self._child.running():
            raise ended(self._child)

    def stop(self) -> None:
        """See `LocalFleet.stop`."""
        if self._child is not None:
            self._child.stop()
            self._child = None


class LocalKubernetes:
    """A real kube-apiserver with its controllers on this machine; kwok plays the kubelets."""

    cluster = "local"
    title = "local kube-apiserver"

    def __init__(self, folder: Path, say: Say) -> None:
        from controlplane.adapters.kubernetes.local import LocalControlPlane, Options

        self._plane = LocalControlPlane(Options(data_dir=folder, say=say))

    def start(self) -> None:
        """See `LocalFleet.start`."""
        self._plane.start()

    def access(self) -> dict[str, Any]:
        """See `LocalFleet.access`."""
        return {"kind": "kubernetes", "kubeconfig": str(self._plane.kubeconfig)}

    def check(self) -> None:
        """See `LocalFleet.check`."""
        self._plane.check()

    def stop(self) -> None:
        """See `LocalFleet.stop`."""
        self._plane.stop()


class GivenCluster:
    """The cluster of a kubeconfig's current context. Nothing of it runs here."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig.expanduser().resolve()
        self._context, self.server = _current_context(self._kubeconfig)
        self.title = f"cluster {self._context}"
        self.cluster = re.sub(r"[^a-z0-9-]+", "-", self._context.lower()).strip("-")[:63].strip("-") or "given"

    def start(self) -> None:
        """See `LocalFleet.start`."""

    def access(self) -> dict[str, Any]:
        """See `LocalFleet.access`."""
        return {"kind": "kubernetes", "kubeconfig": str(self._kubeconfig), "context": self._context}

    def check(self) -> None:
        """See `LocalFleet.check`."""

    def stop(self) -> None:
        """See `LocalFleet.stop`."""


def install_fence(clusters: Path, name: str) -> None:
    """Install Seawall's identities and admission policies in a cluster of this file; again changes nothing."""
    from controlplane.adapters.clusters import read_clusters

    async def install() -> None:
        cluster = await read_clusters(clusters)[name].connect(name)
        try:
            if cluster.kind == "simulated":
                await (
                    cluster.start()
                )  # a real API server needs no watches for this, and none can be had before it is installed
            await cluster.install()
        finally:
            await cluster.close()

    asyncio.run(install())


def kubeconfig_of(environ: dict[str, str] | None = None) -> Path:
    """The file that $KUBECONFIG names, or kubectl's default. Raises UsageError."""
    set_to = (os.environ if environ is None else environ).get("KUBECONFIG")
    given = set_to or "~/.kube/config"
    path = Path(given).expanduser()
    if not path.is_file():
        what = f"KUBECONFIG names {given}, and there is no such file." if set_to else f"There is no kubeconfig {given}."
        raise UsageError(what, "Set KUBECONFIG to one file (no list), or choose another fleet with --fleet.")
    return path


def ended(child: Child) -> DependencyError:
    """Say that a child process ended by itself, with the end of its log."""
    tail = child.log.read_text(errors="replace")[-1500:] if child.log.exists() else ""
    detail = f"{child.name} ended with status {child.process.poll()}. Its log {child.log} ends with:\n{tail}"
    return DependencyError(detail, code="child-process-failed")


def _current_context(kubeconfig: Path) -> tuple[str, str]:
    """The current context's name and its server's address. Raises UsageError."""
    import yaml

    try:
        content = yaml.safe_load(kubeconfig.read_text())
        name = content["current-context"]
        context = next(c["context"] for c in content["contexts"] if c["name"] == name)
        server = next(c["cluster"]["server"] for c in content["clusters"] if c["name"] == context["cluster"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"{kubeconfig} can't be read as a kubeconfig.", "Set KUBECONFIG to one that kubectl reads."
        ) from error
    except (KeyError, TypeError, StopIteration) as error:
        what = f"{kubeconfig} has no current context that can be used."
        raise UsageError(what, "`kubectl config use-context` sets one.") from error
    return str(name), str(server)
