"""notice: a tenant's owner knows of the change so long before it starts. Stands before each target.

Who was told stays told: by any rollout of the same release. A release that asks for none passes, and so does what brings no release.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.notices import KIND, NoticeSpec, why_noticed
from controlplane.ports.gates import Evidence, GatePorts, GateScene
from controlplane.ports.notices import Announced


class NoticeGate:
    """See the module."""

    kind = KIND
    spec = NoticeSpec

    def interval(self, spec: NoticeSpec) -> float:
        """Often enough to start on time."""
        return max(1.0, min(60.0, spec.period.total_seconds() / 10))

    async def observe(self, spec: NoticeSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Read who was told since when; whoever was not is told now."""
        plan = scene.plan
        if ports.notices is None:
            return {"error": "notices can't be read here"}
        if plan.kind != "deploy" or plan.release is None:
            return {"why": ""}
        asks = await ports.notices.asks(plan.app, plan.release)
        why = why_noticed(spec, asks.database, asks.risks)
        if not why:
            return {"why": ""}
        change = Announced(scene.rollout_id, plan.app, plan.release, plan.environment)
        told = await ports.notices.told(change, scene.targets, why, spec.period)
        return {"why": why, "targets": {tenant: {"toldAt": at.isoformat()} for tenant, at in told.items()}}

    def judge(self, spec: NoticeSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """Before a whole wave it says nothing; see `judge_each`."""
        return Judged(Verdict.UNKNOWN, "notice is given to each tenant: put this gate under beforeEach")

    def judge_each(self, spec: NoticeSpec, scene: GateScene, evidence: Evidence) -> Mapping[str, Judged]:
        """Wait until each owner has known for long enough."""
        if evidence.get("error"):
            unknown = Judged(Verdict.UNKNOWN, f"could not measure: {evidence['error']}")
            return dict.fromkeys(scene.targets, unknown)
        if not evidence["why"]:
            return dict.fromkeys(scene.targets, Judged(Verdict.PASS, "this change asks for no notice"))
        told: Mapping[str, Mapping[str, str]] = evidence["targets"]
        return {t: _judge(spec, scene, told[t]["toldAt"], evidence["why"]) for t in scene.targets if t in told}


def _judge(spec: NoticeSpec, scene: GateScene, told_at: str, why: str) -> Judged:
    at = datetime.fromisoformat(told_at)
    earliest = at + spec.period
    says = f"its owner was told on {at:%Y-%m-%d %H:%M}Z, because {why}"
    if earliest > scene.now:
        return Judged(Verdict.WAIT, f"{says}; it starts no earlier than {earliest:%Y-%m-%d %H:%M}Z", until=earliest)
    return Judged(Verdict.PASS, says)
