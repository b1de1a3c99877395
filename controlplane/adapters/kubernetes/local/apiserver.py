"""One kube-apiserver process: start, wait until ready, pause, restart, stop."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from controlplane.adapters.kubernetes.local import flags
from controlplane.adapters.kubernetes.local.build import LocalControlPlaneError
from controlplane.adapters.kubernetes.local.objects import Manifest
from controlplane.adapters.kubernetes.local.processes import Child, Spawner, free_port

READY_WITHIN = 90.0
"""Seconds; five seconds are usual, a machine under load needs more."""
POLL = 0.05
GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL: without etcd kube-apiserver ignores SIGTERM and keeps its port."""


class ApiServer:
    """A kube-apiserver on loopback. `url` and `kubeconfig` stay the same across `restart`."""

    def __init__(self, name: str, layout: flags.Layout, etcd_port: int, extra_flags: tuple[str, ...] = ()) -> None:
        port = free_port()
        self.name = name
        self.url = f"https://127.0.0.1:{port}"
        self.audit_log: Path = layout.root / f"{name}-audit.log"
        self.kubeconfig: Path = layout.kubeconfig(name)
        self._command = flags.apiserver(layout, etcd_port, port, self.audit_log, extra_flags)
        self._child: Child | None = None
        self._spawner: Spawner | None = None
        self._tls: ssl.SSLContext | None = None
        self._last_error = "none"

    @property
    def child(self) -> Child:
        """The running process; raises `LocalControlPlaneError` when there is none."""
        if self._child is None:
            raise LocalControlPlaneError(f"{self.name} is not running; start it first.")
        return self._child

    @property
    def is_running(self) -> bool:
        """Started and not stopped by us; it may have ended on its own."""
        return self._child is not None

    @property
    def pid(self) -> int:
        """Process id, for tests that send signals of their own."""
        return self.child.pid

    def spawn(self, spawner: Spawner, tls: ssl.SSLContext) -> None:
        """Start the process; it is ready when `wait_ready` returns."""
        self._spawner, self._tls = spawner, tls
        self._child = spawner.start(self.name, self._command)

    def wait_ready(self, within: float = READY_WITHIN) -> None:
        """Return when `/readyz` answers 200; raises `LocalControlPlaneError` after `within` seconds or when it ended."""
        self.await_true("is ready", self._is_ready, within)

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or SIGKILL) and start on the same port; returns when it is ready again."""
        if self._spawner is None or self._tls is None:
            raise LocalControlPlaneError(f"{self.name} was never started.")
        self.stop(grace=0 if kill else GRACE)
        self.spawn(self._spawner, self._tls)
        self.wait_ready()

    def start_again(self) -> None:
        """Start after a `stop`, on the same port; returns when it is ready."""
        self.restart()

    def pause(self) -> None:
        """SIGSTOP: connections are accepted by the kernel and never answered."""
        self.child.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.child.resume()

    def stop(self, grace: float = GRACE) -> None:
        """SIGTERM and, after `grace` seconds, SIGKILL; a stopped one stays stopped."""
        if self._child is not None:
            self._child.stop(grace) if grace else self._child.kill()
        self._child = None

    def await_true(self, what: str, condition: Callable[[], bool], within: float = READY_WITHIN) -> None:
        """Poll `condition` until it holds, while the process lives."""
        deadline = time.monotonic() + within
        while not condition():
            self.child.check()
            if time.monotonic() > deadline:
                raise LocalControlPlaneError(
                    f"{self.name}: not true within {within:.0f} s that it {what}. Last connection error: {self._last_error}. "
                    f"Its log ends:\n{self.child.log_tail()}"
                )
            time.sleep(POLL)

    def get(self, path: str) -> Manifest:
        """GET as administrator; raises `httpx.HTTPStatusError`."""
        return dict(self._request("GET", path).raise_for_status().json())

    def create(self, path: str, body: Manifest) -> None:
        """POST as administrator; an object that is already there stays as it is (a data folder used again)."""
        answer = self._request("POST", path, body)
        if answer.status_code != httpx.codes.CONFLICT:
            answer.raise_for_status()

    def _request(self, method: str, path: str, body: Manifest | None = None) -> httpx.Response:
        if self._tls is None:
            raise LocalControlPlaneError(f"{self.name} was never started.")
        with httpx.Client(base_url=self.url, verify=self._tls, timeout=10, trust_env=False) as client:
            return client.request(method, path, json=body)

    def _is_ready(self) -> bool:
        try:
            return self._request("GET", "/readyz").status_code == httpx.codes.OK
        except httpx.TransportError as error:
            # Refused until it listens; anything that will not pass with time is told by await_true.
            self._last_error = f"{type(error).__name__}: {error}"
            return False
