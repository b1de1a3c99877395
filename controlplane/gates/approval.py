"""approval: n people of a group say yes to this very plan. Never the requester, never an author of the release.

Without votes it waits; it can't fail by itself. A vote counts once per person, for one plan hash, and expires.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.names import Name
from controlplane.domain.quantities import Duration
from controlplane.domain.wire import Wire
from controlplane.ports.gates import Evidence, GatePorts, GateScene


class ApprovalSpec(Wire):
    """`{"approval": {"group": "business", "count": 2}}`."""

    group: Name = Field(description="Who may vote: holders of role `approver:<group>`.")
    count: int = Field(default=1, ge=1, le=20, description="So many different people.")
    expires: Duration = Field(default=timedelta(days=7), description="How long a vote counts.")
    known_authors: bool = Field(default=False, description="Refuse to open for a release whose authors are unknown.")


class ApprovalGate:
    """See the module."""

    kind = "approval"
    spec = ApprovalSpec

    def interval(self, _spec: ApprovalSpec) -> float:
        """People are slow; a vote is heard within this."""
        return 1.0

    async def observe(self, _spec: ApprovalSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Read the votes on record."""
        votes = await ports.votes.votes(scene.rollout_id, scene.key)
        return {
            "votes": [
                {"person": v.person, "group": v.group, "planHash": v.plan_hash, "at": v.at.isoformat()} for v in votes
            ]
        }

    def judge(self, spec: ApprovalSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """Count who counts."""
        who = f"approver:{spec.group}"
        if spec.known_authors and not scene.authors:
            return Judged(Verdict.WAIT, "the release's authors are unknown, and this gate needs to know them", who=who)
        people = {vote["person"] for vote in evidence["votes"] if _counts(vote, spec, scene)}
        if len(people) >= spec.count:
            return Judged(Verdict.PASS, f"approved by {', '.join(sorted(people))}")
        return Judged(Verdict.WAIT, f"{len(people)} of {spec.count} approvals by group {spec.group}", who=who)


def _counts(vote: Mapping[str, Any], spec: ApprovalSpec, scene: GateScene) -> bool:
    excluded = {scene.requested_by.lower(), *(author.lower() for author in scene.authors)}
    fresh = datetime.fromisoformat(vote["at"]) + spec.expires > scene.now
    bound = vote["planHash"] == scene.plan.plan_hash and vote["group"] == spec.group
    return fresh and bound and vote["person"].lower() not in excluded
