"""`seawall up` as a process, over a folder of the test's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from controlplane.adapters.embedded.processes import die_with_parent

READY = "Ctrl-C ends it."
PATIENCE = 240.0
"""Seconds: ten processes start, perhaps beside other test processes on two cores."""


@dataclass
class Up:
    """A running `seawall up`, its screen in a file."""

    process: subprocess.Popen[bytes]
    data: Path
    home: Path
    screen: Path

    @property
    def url(self) -> str:
        """The API's address, as the screen says it."""
        found = re.search(r"API\s+(http://\S+)", self.screen.read_text())
        assert found
        return found[1]

    @property
    def key(self) -> str:
        """The first key, as the screen says it."""
        found = re.search(r"key\s+(sw_\S+)", self.screen.read_text())
        assert found
        return found[1]

    def environ(self) -> dict[str, str]:
        """What a command line needs to talk to it."""
        return {"SEAWALL_URL": self.url, "SEAWALL_KEY": self.key}

    def end(self, sig: signal.Signals = signal.SIGINT) -> int:
        """End it, and wait; returns its exit code."""
        self.process.send_signal(sig)
        return self.process.wait(PATIENCE)

    def children(self) -> dict[int, str]:
        """Process ids and command lines of everything it started, whatever group it is in."""
        return {pid: words for pid, words in running().items() if str(self.data) in words or pid in self._spawned()}

    def _spawned(self) -> set[int]:
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return {int(pid) for pid in found.stdout.split()}


def start(data: Path, home: Path, *more: str) -> Up:
    """Start `seawall up`; returns at once."""
    home.mkdir(parents=True, exist_ok=True)
    screen = home / "screen"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEAWALL_")}
    with screen.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "controlplane.cli", "up", "--data", str(data), "--port", "0", *more],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**kept, "XDG_CONFIG_HOME": str(home)},
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 -- only async-signal-safe prctl runs there
        )
    return Up(process, data, home, screen)


def await_ready(up: Up) -> Up:
    """Wait until it says that it runs; fails with its screen when it ends before."""
    deadline = time.monotonic() + PATIENCE
    while READY not in up.screen.read_text():
        assert up.process.poll() is None, up.screen.read_text()
        assert time.monotonic() < deadline, up.screen.read_text()
        time.sleep(0.05)  # between two looks at the condition
    return up


def alive(pids: dict[int, str]) -> dict[int, str]:
    """Those of these processes that still run."""
    now = running()
    return {pid: words for pid, words in pids.items() if now.get(pid) == words}


def running() -> dict[int, str]:
    """Command lines by process id, without zombies."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it ended while we looked
            continue
        if words:
            found[int(folder.name)] = words
    return found
