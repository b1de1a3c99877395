"""The processes of one local control plane: each in its own group, each bound to this process's life."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from controlplane.adapters.kubernetes.local.build import LocalControlPlaneError

WRAPPER = Path(__file__).parent / "die_with_parent.py"


def free_port() -> int:
    """A port of the loopback address that the kernel says is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """One running program with its log."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self.log = log
        self._process = process

    def check(self) -> None:
        """Raise `LocalControlPlaneError` with the end of the log if the program has ended."""
        code = self._process.poll()
        if code is not None:
            raise LocalControlPlaneError(f"{self.name} ended with {code}; the end of {self.log}:\n{self.log_tail()}")

    def log_tail(self, lines: int = 20) -> str:
        """The last lines the program wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def pause(self) -> None:
        """SIGSTOP: it holds its ports and answers nothing."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.killpg(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL the group and wait."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def stop(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; returns when the program is gone."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self.pid, number)


class Spawner:
    """Starts programs from one thread that lives as long as this object.

    The parent-death signal fires when the *thread* that started a program ends; a caller's own thread may be a
    short-lived one of a pool.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-control-plane")

    def start(self, name: str, command: Sequence[str]) -> Child:
        """Start `command`; what it prints goes to `<logs>/<name>.log`."""
        return self._thread.submit(self._start, name, command).result()

    def close(self) -> None:
        """End the thread, and with it every program still alive."""
        self._thread.shutdown()

    def _start(self, name: str, command: Sequence[str]) -> Child:
        path = self._logs / f"{name}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(WRAPPER), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Child(name, process, path)
