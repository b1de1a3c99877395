"""Asking the gates that stand before single targets: all who stand there in one look per gate, each with a verdict of its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from controlplane.domain.engine import Memory
from controlplane.domain.errors import SeawallError
from controlplane.domain.gating import GateJudged, GateKey, GateNow, Judged, Verdict, gates_of_target, refuses
from controlplane.domain.rollouts import WaveState
from controlplane.gates import GATES, read_spec
from controlplane.ports.gates import Evidence, GatePorts, GateScene, TargetGate

type MakeScene = Callable[[GateKey, tuple[str, ...]], GateScene]
"""The scene of a gate and the tenants that are asked about."""

BROKEN_SECONDS = 5.0
"""Until a gate that failed outside its look is tried again."""

log = structlog.get_logger(__name__)


class Asker:
    """Asks for one rollout; a task for each such gate of a running wave, which sleeps while nobody stands there."""

    def __init__(self, ports: GatePorts, memory: Memory, scene: MakeScene, wake: asyncio.Event) -> None:
        self._ports = ports
        self._memory = memory
        self._scene = scene
        self._wake = wake
        self._tasks: dict[GateKey, asyncio.Task[None]] = {}
        self._stirred: dict[GateKey, asyncio.Event] = {}
        self._arrived: list[GateJudged] = []

    def keep(self) -> None:
        """Ask at the gates of the waves that run now, and at once whoever came to stand there since."""
        running = [wave.index for wave in self._memory.waves if wave.state is WaveState.RUNNING]
        gates = {gate.key: gate for wave in running for gate in gates_of_target(self._memory.plan, wave)}
        for key in self._tasks.keys() - gates.keys():
            self._tasks.pop(key).cancel()
        for key in gates.keys() - self._tasks.keys():
            self._stirred[key] = asyncio.Event()
            self._tasks[key] = asyncio.create_task(self._ask_forever(gates[key]), name=f"gate {key}")
        if self._memory.asking:
            for key in gates:
                self._stirred[key].set()

    def changes(self) -> list[GateJudged]:
        """Verdicts since the last call, of those who still stand there."""
        arrived, self._arrived = self._arrived, []
        return [change for change in arrived if change.key.tenant in self._memory.at_gates]

    def give_back(self, changes: Iterable[GateJudged]) -> None:
        """Keep verdicts that were not written after all."""
        self._arrived = [*changes, *self._arrived]

    async def close(self) -> None:
        """Stop asking."""
        for task in self._tasks.values():
            task.cancel()
        for task in self._tasks.values():
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _ask_forever(self, gate: GateNow) -> None:
        """Ask until cancelled. Whatever goes wrong around a look is said of those who stand there, not the end of the asking."""
        while True:
            try:
                await self._ask_on(gate)
            except Exception:
                log.exception("a gate is broken", gate=gate.kind)
                standing = self._standing(gate.key.wave)
                said = [(tenant, broken(), {"error": "internal"}) for tenant in standing]
                self._report(gate, said, timedelta(seconds=BROKEN_SECONDS))
            await asyncio.sleep(BROKEN_SECONDS)

    async def _ask_on(self, gate: GateNow) -> None:
        """Everybody who stands there is asked when he comes, and again at each interval of the gate."""
        spec = read_spec(gate.kind, gate.spec)
        interval = GATES[gate.kind].interval(spec)
        asked: dict[str, float] = {}
        while True:
            self._stirred[gate.key].clear()
            standing = self._standing(gate.key.wave)
            asked = {tenant: at for tenant, at in asked.items() if tenant in standing}
            now = time.monotonic()
            due = tuple(tenant for tenant in standing if asked.get(tenant, -interval) + interval <= now)
            if due:
                asked |= dict.fromkeys(due, now)
                self._report(gate, await self._look(gate, spec, due), timedelta(seconds=2 * interval + 1))
                continue
            delay = min((at + interval - now for at in asked.values()), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stirred[gate.key].wait()

    def _standing(self, wave: int) -> Sequence[str]:
        memory = self._memory
        return [t for t in memory.at_gates if memory.targets[t].wave == wave] if memory.asking else []

    async def _look(self, gate: GateNow, spec: Any, tenants: tuple[str, ...]) -> list[tuple[str, Judged, Evidence]]:
        """One look for all of them. An error on our side is `unknown`: it blames nobody."""
        kind, scene = GATES[gate.kind], self._scene(gate.key, tenants)
        if not isinstance(kind, TargetGate):
            raise TypeError(f"gate kind {gate.kind} can't stand before single targets")  # refused when it was stored
        try:
            evidence = await kind.observe(spec, scene, self._ports)
            judged = kind.judge_each(spec, scene, evidence)
        except SeawallError as error:
            log.warning("a gate could not be looked at", gate=gate.kind, code=error.code)
            evidence, judged = {"error": error.code}, dict.fromkeys(tenants, unmeasured(error.detail))
        except Exception:
            log.exception("a gate is broken", gate=gate.kind)
            evidence, judged = {"error": "internal"}, dict.fromkeys(tenants, broken())
        silent = unmeasured("the gate said nothing about this tenant")
        return [(tenant, judged.get(tenant, silent), _own(evidence, tenant)) for tenant in tenants]

    def _report(self, gate: GateNow, looked: Sequence[tuple[str, Judged, Evidence]], valid: timedelta) -> None:
        """Tell what is new, each pass (it counts for a while only), and who could not be measured for too long."""
        now = self._scene(gate.key, ()).now
        for tenant, judged, evidence in looked:
            known = self._memory.at_gates.get(tenant)
            if known is None:
                continue
            old = known[gate.key.index]
            passes = judged.verdict is Verdict.PASS
            news = old.since is None or (old.verdict, old.reason) != (judged.verdict, judged.reason)
            if news or passes or refuses(old, now):
                until = _earlier(judged.until, now + valid) if passes else judged.until
                key = replace(gate.key, tenant=tenant)
                self._arrived.append(GateJudged(key, replace(judged, until=until), evidence))
                self._wake.set()


def unmeasured(why: str) -> Judged:
    """The verdict where nothing was measured: it blames nobody."""
    return Judged(Verdict.UNKNOWN, f"could not measure: {why}")


def broken() -> Judged:
    """The verdict of a gate with a fault of our own."""
    return unmeasured("something went wrong inside Seawall; the log of the worker says what")


def _own(evidence: Evidence, tenant: str) -> Evidence:
    """What a tenant's verdict is stored with: what was measured of all, and of the others nothing."""
    each = evidence.get("targets")
    if not isinstance(each, Mapping):
        return evidence
    return {**{k: v for k, v in evidence.items() if k != "targets"}, "target": each.get(tenant)}


def _earlier(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else min(one, other)
