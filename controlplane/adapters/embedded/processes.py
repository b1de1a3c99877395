"""Child processes that never outlive their parent, and the ports they listen on."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from controlplane.domain.errors import DependencyError

_PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """Ask the kernel for a free TCP port on loopback."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def die_with_parent() -> None:
    """Run in the child before exec: the kernel sends SIGKILL when the parent dies (prctl(2), PR_SET_PDEATHSIG; Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """One child process in its own process group, with its output in a log file."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ):
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                list(argv),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                user=user,
                preexec_fn=die_with_parent,  # noqa: PLW1509 -- only async-signal-safe prctl runs there
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def await_ready(self, ready: Callable[[], bool], seconds: float = 30.0) -> None:
        """Ask `ready` until it is true; raises with the log's tail if the process ends or time runs out."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running() or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
                state = "ended" if not self.running() else f"was not ready after {seconds:.0f} s"
                raise DependencyError(
                    f"{self.name} {state}. Its log {self.log} ends with:\n{tail}", code="child-process-failed"
                )
            time.sleep(0.02)

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process alone."""
        if self.running():
            self.process.send_signal(sig)

    def stop(self, sig: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> None:
        """Ask it to end with `sig`, then kill its whole group."""
        if self.running():
            self.process.send_signal(sig)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)


def accepts(port: int) -> bool:
    """Whether something listens on this loopback port."""
    with socket.socket() as sock:
        sock.settimeout(0.5)
        return sock.connect_ex(("127.0.0.1", port)) == 0
