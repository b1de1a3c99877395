"""A real Kubernetes control plane on this machine: etcd, kube-apiserver and its controllers, with kwok as kubelet.

There are no containers, no DNS and no network: pods are objects whose status kwok writes, and nothing drops a packet
for a NetworkPolicy.
"""

from __future__ import annotations

import asyncio
import atexit
import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from controlplane.adapters.kubernetes.local import flags, objects
from controlplane.adapters.kubernetes.local.apiserver import GRACE, ApiServer
from controlplane.adapters.kubernetes.local.build import LocalControlPlaneError, Say, cache_root, ensure_binaries
from controlplane.adapters.kubernetes.local.credentials import Credentials
from controlplane.adapters.kubernetes.local.processes import Child, Spawner, free_port
from controlplane.adapters.kubernetes.local.rundir import RunFolder
from controlplane.adapters.kubernetes.local.stages import stage_files

ADMIN = "seawall-local:admin"
SUPERUSER = ("seawall-local:bootstrap", "system:masters")


@dataclass(frozen=True)
class Options:
    """What may differ between runs.

    `data_dir` keeps the cluster's state (etcd) across runs; without it the state ends with the run.
    `apiserver_flags` are added to every kube-apiserver of this control plane.
    """

    nodes: int = 5
    data_dir: Path | None = None
    apiserver_flags: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    say: Say | None = None


class LocalControlPlane:
    """Starts and stops the five processes; `with`, `async with`, or `start` and `stop`.

    They end with this process, even when it is killed with SIGKILL.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._run: _Run | None = None

    def start(self) -> Self:
        """Build what is missing, start everything, return when nodes are Ready and controllers at work.

        Raises `LocalControlPlaneError`; nothing is left running then.
        """
        if self._run is not None:
            return self
        binaries = ensure_binaries(self.options.environ, self.options.say)
        self._run = _Run(self.options, binaries)
        atexit.register(self.stop)
        try:
            self._run.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every process, kube-apiserver first; remove the folder unless it was given. A second call does nothing."""
        run, self._run = self._run, None
        atexit.unregister(self.stop)
        if run is not None:
            run.stop()

    @property
    def apiserver(self) -> ApiServer:
        """The first kube-apiserver, with `restart`, `pause`, `resume` and `stop`."""
        return self._running.apiservers[0]

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig (bound to `cluster-admin` by RBAC, not `system:masters`)."""
        return self.apiserver.kubeconfig

    @property
    def server_url(self) -> str:
        """`https://127.0.0.1:PORT` of the first kube-apiserver."""
        return self.apiserver.url

    @property
    def audit_log(self) -> Path:
        """The first kube-apiserver's audit log: one JSON event a line, writes only, with impersonated extras."""
        return self.apiserver.audit_log

    @property
    def logs(self) -> Path:
        """The folder with one log per process."""
        return self._running.logs

    @property
    def pids(self) -> dict[str, int]:
        """Process id by program, for tests that look whether all of them are gone."""
        return {child.name: child.pid for child in self._running.children()}

    def check(self) -> None:
        """Raise `LocalControlPlaneError`, with the end of its log, if a program has ended that nobody stopped."""
        for child in self._running.children():
            child.check()

    def kubeconfig_for(self, user: str, groups: Sequence[str] = (), server: ApiServer | None = None) -> Path:
        """A kubeconfig with a client certificate of `user` in `groups`, for `server` (default: the first)."""
        target = server or self.apiserver
        name = f"{target.name}-{user.replace(':', '-')}"
        return self._running.credentials.kubeconfig(name, target.url, user, groups)

    def add_apiserver(self) -> ApiServer:
        """Start one more kube-apiserver on the same etcd, as a highly available control plane has; waits until ready."""
        return self._running.add_apiserver()

    def restart_apiserver(self, *, kill: bool = False) -> None:
        """Restart the first kube-apiserver on its port; with `kill` by SIGKILL."""
        self.apiserver.restart(kill=kill)

    @property
    def _running(self) -> _Run:
        if self._run is None:
            raise LocalControlPlaneError("The local control plane is not running; call start() first.")
        return self._run

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


class _Run:
    """One run: its folder, its identities, its processes."""

    def __init__(self, options: Options, binaries: Path) -> None:
        self._options = options
        self._folder = None if options.data_dir else RunFolder(cache_root(options.environ) / "runs")
        root = self._folder.path if self._folder else _given(options.data_dir)
        self._layout = flags.Layout(root, binaries)
        self.logs = root / "logs"
        self.logs.mkdir(exist_ok=True)
        self.credentials = Credentials(self._layout, dt.datetime.now(dt.UTC))
        self._tls = self.credentials.ssl_context(SUPERUSER[0], SUPERUSER[1:])
        self._spawner = Spawner(self.logs)
        self._etcd_port = free_port()
        self._others: list[Child] = []
        self.apiservers: list[ApiServer] = []

    def start(self) -> None:
        policy = self._layout.root / "audit-policy.yaml"
        policy.write_text(json.dumps(objects.audit_policy()))
        self._spawn("etcd", flags.etcd(self._layout, self._etcd_port))
        server = self.add_apiserver()
        for path, body in objects.access():
            server.create(path, body)
        self._start_controllers(server)
        for index in range(self._options.nodes):
            server.create("/api/v1/nodes", objects.node(index))
        server.await_true("has controllers at work and all nodes Ready", lambda: self._at_work(server))

    def add_apiserver(self) -> ApiServer:
        name = f"kube-apiserver-{len(self.apiservers)}"
        server = ApiServer(name, self._layout, self._etcd_port, self._options.apiserver_flags)
        self.credentials.kubeconfig(name, server.url, ADMIN, [objects.ADMIN_GROUP])
        self.apiservers.append(server)
        server.spawn(self._spawner, self._tls)
        server.wait_ready()
        return server

    def children(self) -> list[Child]:
        return [*(server.child for server in self.apiservers if server.is_running), *self._others]

    def stop(self) -> None:
        for server in reversed(self.apiservers):
            server.stop(grace=0 if self._folder else GRACE)
        for child in reversed(self._others):
            child.kill() if self._folder else child.stop(GRACE)
        self._spawner.close()
        if self._folder is not None:
            self._folder.close()

    def _start_controllers(self, server: ApiServer) -> None:
        users = {
            "kube-controller-manager": "system:kube-controller-manager",
            "kube-scheduler": "system:kube-scheduler",
            "kwok": objects.KWOK_USER,
        }
        for name, user in users.items():
            self.credentials.kubeconfig(name, server.url, user)
        self._spawn("kube-controller-manager", flags.controller_manager(self._layout))
        self._spawn("kube-scheduler", flags.scheduler(self._layout))
        self._spawn("kwok", flags.kwok(self._layout, stage_files()))

    def _spawn(self, name: str, command: list[str]) -> None:
        self._others.append(self._spawner.start(name, command))

    def _at_work(self, server: ApiServer) -> bool:
        for child in self._others:
            child.check()
        accounts = server.get("/api/v1/namespaces/default/serviceaccounts")["items"]
        nodes = server.get("/api/v1/nodes")["items"]
        return bool(accounts) and all(_is_ready(node) for node in nodes)


def _is_ready(node: objects.Manifest) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _given(folder: Path | None) -> Path:
    if folder is None:
        raise ValueError("no folder given")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
