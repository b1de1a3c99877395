"""A worker process: hears of work, claims it, drives it; a second signal or a lost part never leaves anything half said.

A new kind of subject is one line in `DRIVES`; a new loop is one line in `LOOPS`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from controlplane.adapters.postgres.leases import PostgresLeases
from controlplane.bootstrap import Container
from controlplane.domain.errors import DependencyError
from controlplane.services.fleet import Fleet
from controlplane.services.probing import FleetProbes
from controlplane.settings import Settings

from . import (
    breakglass,
    drift,
    hearing,
    housekeeping,
    illness,
    machine,
    observe,
    operations,
    presence,
    rollouts,
    upgrades,
)
from .measured import measured
from .runner import Drive, Runner

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Work:
    """What every loop of a worker process shares."""

    container: Container
    fleet: Fleet
    holder: str
    clusters: frozenset[str] | None


type MakeDrive = Callable[[Work], Drive]
type Loop = Callable[[Work, Runner], Awaitable[None]]

DRIVES: Mapping[str, MakeDrive] = {
    "rollout": lambda work: rollouts.drive_with(
        work.container.engine_store,
        work.fleet,
        replace(work.container.gate_ports, probes=FleetProbes(work.fleet)),
        work.container.meters,
    ),
    "operation": lambda work: operations.drive_with(work.container.operation_tools(work.fleet)),
}
LOOPS: Sequence[Loop] = (
    lambda work, runner: presence.announce_forever(
        work.container, work.fleet, work.holder, work.clusters, runner.draining
    ),
    lambda work, runner: hearing.hear_forever(work.container, runner),
    lambda work, runner: machine.serve_forever(work.container, work.fleet),
    lambda work, runner: housekeeping.keep_forever(work.container, runner.draining),
    lambda work, runner: breakglass.keep_forever(work.container, runner.draining),
    lambda work, runner: drift.watch_forever(
        work.container.database, work.fleet, work.container.meters, runner.draining
    ),
    lambda work, runner: illness.watch_forever(
        work.container.database, work.container.gate_ports.blames, runner.draining
    ),
    lambda work, runner: upgrades.watch_forever(work.container.database, work.fleet, runner.draining),
    lambda work, runner: observe.observe_forever(work.container.database, work.fleet, runner.draining),
)


def holder_name() -> str:
    """A name no other process has: host, process id and a random part (a restarted container reuses both others)."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


async def work(container: Container, clusters: frozenset[str] | None, stop: asyncio.Event) -> None:
    """Work until `stop` is set, then drain: finish what is in hand, release leases, close."""
    fleet = Fleet(container.clusters, clusters, container.timelines)
    shared = Work(container, fleet, holder_name(), clusters)
    settings = container.settings
    leases = PostgresLeases(
        container.database, schema_version=settings.plan_schema, clusters=clusters, ttl=settings.lease_seconds
    )
    meters = container.meters
    drives = {kind: measured(kind, make(shared), meters) for kind, make in DRIVES.items()}
    runner = Runner(leases, shared.holder, drives, meters=meters)
    loops = [asyncio.ensure_future(loop(shared, runner)) for loop in LOOPS]
    loops.append(asyncio.ensure_future(runner.sweep_forever()))
    waiting = asyncio.ensure_future(stop.wait())
    log.info("worker started", holder=shared.holder, clusters=sorted(clusters) if clusters else "all")
    try:
        done, _ = await asyncio.wait([waiting, *loops], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
    finally:
        container.draining.set()
        await runner.drain()
        for task in (waiting, *loops):
            task.cancel()
        await asyncio.gather(waiting, *loops, return_exceptions=True)
        await fleet.close()
        await container.close()
        log.info("worker stopped", holder=shared.holder)


def run(settings: Settings, clusters: Sequence[str] | None = None) -> None:
    """Entry of `seawall work`: SIGTERM and SIGINT drain. Raises DependencyError `cluster-not-configured`: it would wait for ever."""
    container = Container(settings)
    unknown = sorted(set(clusters or ()) - set(container.cluster_names()))
    if unknown:
        known = ", ".join(container.cluster_names()) or "none"
        detail = f"SEAWALL_CLUSTERS names no cluster {unknown[0]}; it names: {known}. Correct --clusters, or the file."
        raise DependencyError(detail, code="cluster-not-configured")

    async def main() -> None:
        stop = asyncio.Event()
        for sig in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sig, stop.set)
        await work(container, frozenset(clusters) if clusters else None, stop)

    asyncio.run(main())
