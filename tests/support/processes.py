"""Seawall's processes as production runs them, over a test's database: started, armed with a fault, killed, stopped, gone with the test."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from controlplane.adapters.embedded.processes import Child, free_port
from tests.plugins.database import Database
from tests.support.forked import ForkedChild
from tests.support.history_checker import Claim

LEASE_SECONDS = 4.0
"""Of the workers in these tests: long enough for a busy machine, short enough to wait for."""


async def until[T](look: Callable[[], T], within: float = 60.0, what: str = "") -> T:
    """Wait until `look` gives something true; fails with what it gave last."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what or 'it'} did not happen within {within} s; last seen: {seen!r}"
        await asyncio.sleep(0.02)
    return seen


@dataclass
class Processes:
    """Children over one database and one file of clusters. `extra` goes into every child's environment."""

    folder: Path
    database: Database
    clusters: Path
    extra: dict[str, str] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)

    def worker(self, name: str, fault: str = "", **env: str) -> Child:
        """Start a worker. `fault`: `<point>:<nth>[=stop]`, see `controlplane.ports.faults`."""
        return self.start(name, "work", {"SEAWALL_FAULT": fault, **env})

    def relay(self, name: str = "relay", fault: str = "", **env: str) -> Child:
        """Start a relay."""
        return self.start(name, "relay", {"SEAWALL_FAULT": fault, **env})

    async def api(self, name: str = "api", fault: str = "", port: int = 0, **env: str) -> str:
        """Start the API, wait until it listens; gives its address."""
        listen = f"127.0.0.1:{port or free_port()}"
        child = self.start(name, "serve", {"SEAWALL_FAULT": fault, "SEAWALL_LISTEN": listen, **env})
        host, _, number = listen.rpartition(":")

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection(host, int(number))
            except OSError:
                return False
            writer.close()
            return True

        deadline = time.monotonic() + 60
        while not await listens():
            assert child.running(), tail(child)
            assert time.monotonic() < deadline, tail(child)
            await asyncio.sleep(0.02)
        return f"http://{listen}"

    def start(self, name: str, command: str, env: Mapping[str, str], *words: str) -> Child:
        """Start one process under a name that is its log's too; `words` follow the command."""
        assert name not in self.children, f"{name} was started already"
        child = ForkedChild(name, [command, *words], self.folder / f"{name}.log", env={**self._environment(), **env})
        self.children[name] = child
        return child

    async def ended(self, child: Child, by: signal.Signals = signal.SIGKILL, within: float = 60.0) -> None:
        """Wait until a child has been ended by a signal."""
        await until(lambda: not child.running(), within, f"{child.name} ended by its fault\n{tail(child)}")
        assert child.process.returncode == -by, tail(child)

    async def stopped(self, child: Child, within: float = 60.0) -> None:
        """Wait until a child has stopped itself (SIGSTOP)."""
        await until(lambda: _state(child.pid) == "T", within, f"{child.name} stopped by its fault")

    def claims(self) -> list[Claim]:
        """Which worker said that it drives which rollout under which epoch, by their clocks."""
        said = (
            (name, orjson.loads(line))
            for name, child in self.children.items()
            for line in child.log.read_bytes().splitlines()
            if b'"event": "driving"' in line
        )
        claims = (Claim(name, line["rollout"], line["epoch"], line["timestamp"]) for name, line in said)
        return sorted(claims, key=lambda claim: claim.at)

    def errors(self) -> list[str]:
        """What the children called an error."""
        lines = (line for child in self.children.values() for line in child.log.read_text().splitlines())
        return [line for line in lines if '"level": "error"' in line]

    def stop(self) -> None:
        """End everything."""
        for child in self.children.values():
            if child.running():
                child.kill(signal.SIGCONT)
                child.kill(signal.SIGKILL)
            child.process.wait(10)

    def _environment(self) -> dict[str, str]:
        urls = {f"SEAWALL_DATABASE_URL_{role.upper()}": getattr(self.database, role) for role in _ROLES}
        lease = {"SEAWALL_LEASE_SECONDS": str(LEASE_SECONDS)}
        return {**urls, **lease, "SEAWALL_CLUSTERS": str(self.clusters), **self.extra}


_ROLES = ("platform", "tenant", "engine")


def tail(child: Child, size: int = 4000) -> str:
    """The end of a child's log."""
    return child.log.read_text(errors="replace")[-size:]


def _state(pid: int) -> str:
    """The scheduler's letter for a process: proc(5), third field of /proc/pid/stat."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
