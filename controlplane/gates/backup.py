"""backup: each tenant's newest checked backup is younger than its recovery point objective.

Backups are what a backup system reported (`PUT /v1/tenants/{t}/environments/{e}/backups/{id}`); an empty one, and one that nobody has checked, do
not count. A tenant without one waits. Where neither the gate nor the tenant's tier says how old it may be, it is `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.quantities import Duration, format_duration
from controlplane.domain.wire import Wire
from controlplane.gates.scenes import goes_back, subjects, together
from controlplane.ports.gates import Evidence, GatePorts, GateScene

WHO = "the backup system"


class BackupSpec(Wire):
    """`{"backup": {}}`, or `{"backup": {"maxAge": "PT1H"}}`."""

    max_age: Duration | None = Field(default=None, description="None: the `rpo` of each tenant's tier.")


class BackupGate:
    """See the module."""

    kind = "backup"
    spec = BackupSpec

    def interval(self, _spec: BackupSpec) -> float:
        """Backups come by the hour; one that came in is seen within this."""
        return 5.0

    async def observe(self, _spec: BackupSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Read the newest of each tenant at once, and what their tiers ask."""
        tenants = subjects(scene)
        if ports.facts is None:
            return {"error": "this process can't read backups", "targets": {}}
        newest = await ports.facts.backups(scene.plan.environment, tenants)
        targets = await ports.facts.targets(scene.rollout_id, tenants)
        rpo = {tier.name: tier.spec.get("rpo") for tier in await ports.facts.configured("tiers")}
        shown: dict[str, Any] = {}
        for tenant in tenants:
            one = newest.get(tenant)
            backup = {"id": one.id, "takenAt": one.taken_at.isoformat(), "size": one.size} if one else None
            asked = rpo.get(targets[tenant].tier) if tenant in targets else None
            shown[tenant] = {"backup": backup, "rpo": asked}
        return {"targets": shown}

    def judge(self, spec: BackupSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """All tenants of the wave together."""
        if evidence.get("error"):
            return Judged(Verdict.UNKNOWN, f"could not measure: {evidence['error']}")
        return together(self.judge_each(spec, scene, evidence))

    def judge_each(self, spec: BackupSpec, scene: GateScene, evidence: Evidence) -> Mapping[str, Judged]:
        """Each tenant on its own."""
        if goes_back(scene):
            return dict.fromkeys(evidence["targets"], Judged(Verdict.PASS, "a way back waits for no backup"))
        return {tenant: _judge(spec, shown, scene.now) for tenant, shown in evidence["targets"].items()}


def _judge(spec: BackupSpec, shown: Mapping[str, Any], now: datetime) -> Judged:
    allowed = spec.max_age or _duration(shown["rpo"])
    if allowed is None:
        return Judged(
            Verdict.UNKNOWN, "neither the gate nor the tier says how old a backup may be", who="platform-admin"
        )
    backup = shown["backup"]
    if backup is None:
        return Judged(Verdict.WAIT, "no checked backup was reported", who=WHO)
    until = datetime.fromisoformat(backup["takenAt"]) + allowed
    if until <= now:
        reason = f"the newest checked backup ({backup['takenAt']}) is older than {format_duration(allowed)}"
        return Judged(Verdict.WAIT, reason, who=WHO)
    return Judged(Verdict.PASS, f"a checked backup is younger than {format_duration(allowed)}", until=until)


def _duration(text: str | None) -> timedelta | None:
    return BackupSpec.model_validate({"maxAge": text}).max_age if text else None
