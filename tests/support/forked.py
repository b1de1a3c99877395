"""Seawall's own processes without the second that Python takes to import them: forked from one that has imported everything.

A run of the suite starts hundreds of workers, APIs and command lines, and most of what each of them did was importing. Here a server
process (a child of the tests, which dies with them) imports once and forks for each request. What it forks is a process like any other: its
own memory, environment, session, signals and end; it has opened nothing and started no thread before. `seawall up`, the demo, and
tests of what is imported when still start Python itself.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from controlplane.adapters.embedded.processes import Child, die_with_parent

COMMAND_LINE = "controlplane.cli.__main__"
SIMULATED = "controlplane.adapters.simulated.__main__"
PRELOADED = (
    "controlplane.cli.app",
    "controlplane.cli.client",
    "controlplane.cli.output",
    "controlplane.cli.watching",
    "controlplane.api.server",
    "controlplane.api.app",
    "workers.app",
    "workers.relay",
    SIMULATED,
)
_MOST = 1 << 20


class Request(TypedDict):
    """What the server is asked for: a module whose `main` runs, the words after its name, and where."""

    module: str
    words: list[str]
    env: dict[str, str]
    cwd: str


class Forked:
    """A process of the server's, with what is used of `subprocess.Popen`."""

    def __init__(
        self,
        words: Sequence[str],
        stdin: int,
        stdout: int,
        stderr: int,
        env: Mapping[str, str],
        module: str = COMMAND_LINE,
    ) -> None:
        self.args = list(words)
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(_server())
        request = json.dumps(Request(module=module, words=self.args, env=dict(env), cwd=str(Path.cwd()))).encode()
        self._line.sendall(len(request).to_bytes(4))
        socket.send_fds(self._line, [request[:1]], [stdin, stdout, stderr])
        self._line.sendall(request[1:])
        self.pid = int.from_bytes(_exactly(self._line, 4))
        self.returncode: int | None = None

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._line.fileno()

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._read(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        code = self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def _read(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._line.settimeout(timeout if timeout is None or timeout > 0 else 0.0)
            try:
                said = self._line.recv(4)
            except (TimeoutError, BlockingIOError):
                return None
            self._line.close()
            assert len(said) == 4, f"the server that forked {self.args} has ended"
            self.returncode = int.from_bytes(said, signed=True)
        return self.returncode


class ForkedChild(Child):
    """As `Child`: `words` are those after `seawall`, or after another module's name."""

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        module: str = COMMAND_LINE,
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output, Path(os.devnull).open("rb") as nothing:
            out = output.fileno()
            forked = Forked(words, nothing.fileno(), out, out, {**os.environ, **(env or {})}, module)
        self.process = forked  # type: ignore[assignment]  # it has what is used of a Popen


@functools.cache
def _server() -> str:
    """The address of this process's server, started by the first who asks."""
    folder = tempfile.mkdtemp(prefix="seawall-fork-")
    address = f"{folder}/socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forked", address],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        preexec_fn=die_with_parent,  # noqa: PLW1509 -- only async-signal-safe prctl runs there
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    atexit.register(process.kill)
    return address


def _exactly(line: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = line.recv(size - len(found))
        if not more:
            raise EOFError("the other side has ended")
        found += more
    return found


def serve(address: str) -> None:
    """Import, then fork for whoever asks; tell each of its process's id, then of its end."""
    for module in PRELOADED:
        importlib.import_module(module)
    assert threading.active_count() == 1, threading.enumerate()
    gc.freeze()  # what was imported stays shared between all processes
    lines: dict[int, socket.socket] = {}
    signal.signal(signal.SIGCHLD, lambda *_: None)
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        ready, _, _ = select.select([listener.fileno(), wake], [], [])
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, _MOST)
        _reap(lines)
        if listener.fileno() in ready:
            line, _ = listener.accept()
            _fork(line, lines, listener)


def _reap(lines: dict[int, socket.socket]) -> None:
    """Tell of every process that has ended how it did; whoever asked for it may be gone."""
    while lines:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with lines.pop(pid) as line, contextlib.suppress(OSError):
            line.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, signed=True))


def _fork(line: socket.socket, lines: dict[int, socket.socket], listener: socket.socket) -> None:
    size = int.from_bytes(_exactly(line, 4))
    first, fds, _, _ = socket.recv_fds(line, 1, 3)
    request: Request = json.loads(first + _exactly(line, size - 1))
    pid = os.fork()
    if pid:
        for fd in fds:
            os.close(fd)
        lines[pid] = line
        line.sendall(pid.to_bytes(4))
        return
    code = 1
    try:
        for other in (line, listener, *lines.values()):
            other.close()
        code = _become(request, fds)
    except BaseException:  # noqa: BLE001 -- the end of the process, as the interpreter would say it
        traceback.print_exc()
    finally:
        _finish()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _finish() -> None:
    """What an interpreter does at its end: wait for threads, then call what asked to be called, such as the exporter of spans."""
    threading._shutdown()  # type: ignore[attr-defined]  # as Py_FinalizeEx does; pools of threads end here
    atexit._run_exitfuncs()


def _become(request: Request, fds: Sequence[int]) -> int:
    """What a freshly started `python -m MODULE` would be by now, then its `main`."""
    os.setsid()
    die_with_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["seawall", *request["words"]]
    importlib.reload(importlib.import_module("controlplane.ports.faults"))  # it reads the environment once
    try:
        importlib.import_module(request["module"]).main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
