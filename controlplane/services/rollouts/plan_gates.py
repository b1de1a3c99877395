"""Gates that are about the release alone, looked at while a rollout is planned: a bad signature is known before anybody waits for it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.domain.errors import ConflictError, SeawallError
from controlplane.domain.gating import GateKey, GateNow, Judged, Verdict, gates_of
from controlplane.domain.names import digest_of
from controlplane.domain.plans import Note, Plan
from controlplane.gates import GATES, read_spec
from controlplane.ports.gates import GatePorts, GateScene, PlanGate

_NOBODY = uuid.UUID(int=0)
_CODES = {
    Verdict.FAIL: "gate-would-fail",
    Verdict.UNKNOWN: "gate-unknown",
    Verdict.WAIT: "gate-would-wait",
}


@dataclass(frozen=True, slots=True)
class PlanLook:
    """What one gate said of a plan, and the waves before which it stands."""

    kind: str
    judged: Judged
    waves: tuple[str, ...]

    def note(self) -> Note:
        """For whoever reads the plan."""
        where = ", ".join(self.waves)
        detail = f"Gate {self.kind} ({where}) would say {self.judged.verdict} now: {self.judged.reason}."
        return Note(code=_CODES[self.judged.verdict], detail=detail)


async def look_at_plan(asks: GatePorts | None, plan: Plan, now: datetime) -> tuple[PlanLook, ...]:
    """Ask each such gate of a deploy once, whatever the number of waves; those that pass have nothing to say."""
    if asks is None or plan.kind != "deploy" or plan.release is None:
        return ()
    standing: dict[str, tuple[GateNow, list[str]]] = {}
    for gate in gates_of(plan).values():
        if gate.key.place == "before" and isinstance(GATES[gate.kind], PlanGate):
            found = standing.setdefault(digest_of({gate.kind: dict(gate.spec)}), (gate, []))
            found[1].append(plan.waves[gate.key.wave].name)
    looks = [
        PlanLook(gate.kind, await _look(asks, plan, gate, now), tuple(dict.fromkeys(waves)))
        for gate, waves in standing.values()
    ]
    return tuple(look for look in looks if look.judged.verdict is not Verdict.PASS)


def refuse_failing(looks: tuple[PlanLook, ...]) -> None:
    """Raise ConflictError `gate-would-fail` where a gate says no to the release: starting would only hold it later."""
    for look in looks:
        if look.judged.verdict is Verdict.FAIL:
            raise ConflictError(
                f"Gate {look.kind} says no to this release: {look.judged.reason}. Register what is missing, or another release.",
                code="gate-would-fail",
                extra={"gate": look.kind, "waves": list(look.waves)},
            )


async def _look(asks: GatePorts, plan: Plan, gate: GateNow, now: datetime) -> Judged:
    kind: Any = GATES[gate.kind]
    spec: Any = read_spec(gate.kind, gate.spec)
    scene = GateScene(_NOBODY, GateKey(gate.key.wave, "before", 0), plan, "", (), (), now, now)
    try:
        evidence: Mapping[str, Any] = await kind.observe(spec, scene, asks)
    except SeawallError as error:
        return Judged(Verdict.UNKNOWN, f"could not measure: {error.detail}")
    judged: Judged = kind.judge(spec, scene, evidence)
    return judged
