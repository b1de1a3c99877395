"""Keeping a rollout's gates: those that stand open or closed right now are looked at, each at its own interval."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from controlplane.domain.asking import why_not_yet
from controlplane.domain.engine import Memory, TargetNow, WaveNow
from controlplane.domain.errors import SeawallError
from controlplane.domain.gating import GateJudged, GateKey, GateNow, Judged, Place, Verdict, refuses
from controlplane.domain.rollouts import TARGET_FORWARD, TargetState, WaveState
from controlplane.gates import GATES, read_spec
from controlplane.ports.engine import Loaded
from controlplane.ports.gates import Evidence, FleetNow, GatePorts, GateScene, ShownGate
from controlplane.services.asking import BROKEN_SECONDS, Asker, broken, unmeasured
from controlplane.services.docket import Docket

_STANDING: dict[WaveState, tuple[Place, ...]] = {
    WaveState.GATING: ("before",),
    WaveState.RUNNING: ("during",),
    WaveState.JUDGING: ("during", "after"),
    WaveState.FAILED: ("during",),
}
"""A failed wave is watched on while targets of it are in flight: whoever turns bad later goes back too."""
_UNTOUCHED = frozenset({TargetState.PENDING, TargetState.SKIPPED, TargetState.CANCELLED, TargetState.DEFERRED})
_BACK = frozenset({TargetState.FAILED, TargetState.ROLLING_BACK, TargetState.ROLLED_BACK})
"""Those don't run the release any more, or not for long: what they show is not the release's."""
_HAS_IT = frozenset({TargetState.SOAK, TargetState.VERIFIED})
LOOKS_KEPT = 1000

log = structlog.get_logger(__name__)


class Gatekeeper:
    """Looks at the gates of one rollout."""

    def __init__(
        self, ports: GatePorts, loaded: Loaded, wake: asyncio.Event, now: Callable[[], datetime], docket: Docket
    ) -> None:
        self._docket = docket
        self._named: dict[GateKey, dict[str, datetime]] = {}
        self._ports = ports
        self._loaded = loaded
        self._memory: Memory = loaded.memory
        self._wake = wake
        self._now = now
        self._tasks: dict[GateKey, asyncio.Task[None]] = {}
        self._looks: dict[GateKey, list[str]] = {}
        self._arrived: list[GateJudged] = []
        self._asker = Asker(ports, loaded.memory, self._scene, wake)

    @property
    def busy(self) -> bool:
        """Whether a gate stands now, so that its rollout may move without anything else happening."""
        return any(self._standing(wave) for wave in self._memory.waves)

    def changes(self) -> list[GateJudged]:
        """Verdicts since the last call, of gates that still stand."""
        standing = self.keep()
        arrived, self._arrived = self._arrived, []
        return [*(change for change in arrived if change.key in standing), *self._asker.changes()]

    def keep(self) -> dict[GateKey, GateNow]:
        """Look at the gates that stand now and no longer at others; gives those of waves."""
        standing = {gate.key: gate for wave in self._memory.waves for gate in self._standing(wave)}
        for key in self._tasks.keys() - standing.keys():
            self._tasks.pop(key).cancel()
        for key in standing.keys() - self._tasks.keys():
            self._tasks[key] = asyncio.create_task(self._look_forever(standing[key]), name=f"gate {key}")
        self._asker.keep()
        return standing

    def give_back(self, changes: Iterable[object]) -> None:
        """Keep verdicts that were not written after all."""
        judged = [change for change in changes if isinstance(change, GateJudged)]
        self._arrived = [change for change in judged if not change.key.tenant] + self._arrived
        self._asker.give_back(change for change in judged if change.key.tenant)

    def look_again(self, kind: str) -> None:
        """Forget what was read for gates of this kind and not written yet: it is no longer so. They are looked at afresh at once."""
        self._arrived = [change for change in self._arrived if self._memory.gates[change.key].kind != kind]
        for key in [key for key in self._tasks if self._memory.gates[key].kind == kind]:
            self._tasks.pop(key).cancel()

    async def close(self) -> None:
        """Stop looking."""
        await self._asker.close()
        for task in self._tasks.values():
            task.cancel()
        for task in self._tasks.values():
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _standing(self, wave: WaveNow) -> list[GateNow]:
        places = _STANDING.get(wave.state, ()) if wave.state is not WaveState.FAILED or wave.in_flight else ()
        return [g for g in self._memory.gates.values() if g.key.wave == wave.index and g.key.place in places]

    async def _look_forever(self, gate: GateNow) -> None:
        """Look until cancelled. Whatever goes wrong around a look is said as its verdict, not the end of the looking."""
        while True:
            try:
                seconds = await self._look_once(gate)
            except Exception:
                log.exception("a gate is broken", gate=gate.kind)
                self._tell(gate.key, broken(), {"error": "internal"})
                seconds = BROKEN_SECONDS
            await asyncio.sleep(seconds)

    async def _look_once(self, gate: GateNow) -> float:
        """One look if there is anybody to look at; gives the seconds until the next."""
        kind, spec = GATES[gate.kind], read_spec(gate.kind, gate.spec)
        scene = self._scene(gate.key)
        if gate.key.place != "during" or scene.changed:
            evidence, judged = await self._look(gate, spec, scene)
            judged = await self._weighed(gate.key, judged)
            self._tell(gate.key, judged, evidence)
        return kind.interval(spec)

    def _tell(self, key: GateKey, judged: Judged, evidence: Evidence) -> None:
        if self._news(key, judged):
            self._arrived.append(GateJudged(key, judged, evidence))
            self._wake.set()

    def _news(self, key: GateKey, judged: Judged) -> bool:
        """Whether a verdict must be heard: it differs, blames somebody who has not begun to go back, or was unknown for too long."""
        said, wave = self._memory.gates[key], self._memory.waves[key.wave]
        if judged.verdict is Verdict.FAIL:
            blamed = [self._memory.targets[t] for t in judged.tenants if t in self._memory.targets]
            return said.verdict is not Verdict.FAIL or any(_must_go_back(target) for target in blamed)
        if wave.state is WaveState.FAILED:
            return False
        return (judged.verdict, judged.reason) != (said.verdict, said.reason) or refuses(said, self._now())

    async def _look(self, gate: GateNow, spec: Any, scene: GateScene) -> tuple[Evidence, Judged]:
        """One look. An error on our side is `unknown`: it blames nobody."""
        kind, looks = GATES[gate.kind], self._looks.setdefault(gate.key, [])
        try:
            evidence: dict[str, Any] = {**await kind.observe(spec, scene, self._ports), "looks": list(looks)}
            judged = kind.judge(spec, scene, evidence)
        except SeawallError as error:
            log.warning("a gate could not be looked at", gate=gate.kind, code=error.code)
            return {"error": error.code}, unmeasured(error.detail)
        except Exception:
            log.exception("a gate is broken", gate=gate.kind)
            return {"error": "internal"}, broken()
        if judged.look:
            looks.append(judged.look)
            del looks[:-LOOKS_KEPT]
        kept = kind.shown(spec, evidence) if isinstance(kind, ShownGate) else evidence
        return ({**kept, "judgement": judged.detail} if judged.detail else kept), judged

    async def _weighed(self, key: GateKey, judged: Judged) -> Judged:
        """A verdict after it was asked whether another change made the tenants ill that it names: what is not ours is `unknown`.

        For as long as the wave bears disturbances; then it counts, whoever did it: the tenants must not stay ill for ever.
        """
        if judged.verdict is not Verdict.FAIL or not judged.tenants or key.place == "before":
            self._named.pop(key, None)
            return judged
        known, now = self._named.get(key, {}), self._now()
        ill = self._named[key] = {tenant: known.get(tenant, now) for tenant in judged.tenants}
        limit = self._memory.plan.waves[key.wave].success.disturbance_limit
        if not self._news(key, judged) or now >= min(ill.values()) + limit:
            return judged
        try:
            others = await self._docket.weigh(ill)
        except (SeawallError, TimeoutError) as error:
            log.warning("who is to blame could not be asked", detail=getattr(error, "detail", "no answer"))
            others = {}
        ours = tuple(tenant for tenant in judged.tenants if tenant not in others)
        if len(ours) == len(judged.tenants):
            return judged
        if ours:
            return replace(judged, tenants=ours)
        reason = f"{judged.reason}; it does not count against this rollout: {others[judged.tenants[0]]}"
        return replace(judged, verdict=Verdict.UNKNOWN, reason=reason, tenants=())

    def _fleet(self) -> FleetNow:
        """Who has the release and who is untouched. One on its way is neither: it serves the old and the new at once."""
        targets = self._memory.targets.values()
        changed = {t.tenant: t.soak_since for t in targets if t.state in _HAS_IT and t.soak_since is not None}
        return FleetNow(changed, frozenset(t.tenant for t in targets if t.state is TargetState.PENDING))

    def _scene(self, key: GateKey, targets: tuple[str, ...] = ()) -> GateScene:
        wave = self._memory.waves[key.wave]
        changed = tuple(t for t in wave.order if self._memory.targets[t].state not in _UNTOUCHED | _BACK)
        return GateScene(
            rollout_id=uuid.UUID(self._memory.id),
            key=key,
            plan=self._memory.plan,
            requested_by=self._loaded.requested_by,
            authors=self._loaded.authors,
            changed=changed,
            since=wave.started_at or self._now(),
            now=self._now(),
            targets=targets,
            blocked=why_not_yet(self._memory, key),
            change_ref=self._memory.change_ref,
            reason=self._loaded.reason,
            wave=wave.order,
            environment=self._memory.plan.environment,
            fleet=self._fleet,
        )


def _must_go_back(target: TargetNow) -> bool:
    """Whether a target that a gate blames still runs the release and has a way back that it has not begun."""
    if target.state is TargetState.VERIFIED:
        return target.wants != "back" and target.way_back == "reapply"
    return target.state in TARGET_FORWARD
