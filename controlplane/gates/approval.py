"""approval: n people of a group, or of several groups, say yes to this very plan. Never the requester, never an author of the release.

Without votes it waits. It asks only when a yes would let something proceed (`scene.blocked` says what comes first). A vote counts once per
person, for one plan hash, and expires; a no of one person of an asked group fails it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, model_validator

from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.names import Name
from controlplane.domain.quantities import Duration
from controlplane.domain.wire import Wire
from controlplane.ports.gates import Evidence, GatePorts, GateScene

Count = Annotated[int, Field(ge=1, le=20)]


class ApprovalSpec(Wire):
    """`{"approval": {"group": "business", "count": 2}}` or `{"approval": {"groups": {"business": 1, "platform": 1}, "atLeast": 1}}`."""

    group: Name | None = Field(default=None, description="Who may vote: holders of role `approver:<group>`.")
    count: Count = Field(default=1, description="So many different people of `group`.")
    groups: dict[Name, Count] | None = Field(
        default=None, min_length=1, max_length=10, description="Instead of `group`: so many different people of each."
    )
    at_least: int | None = Field(default=None, ge=1, le=10, description="So many of `groups`; absent: all of them.")
    expires: Duration = Field(default=timedelta(days=7), gt=timedelta(0), description="How long a vote counts.")
    known_authors: bool = Field(default=False, description="Refuse a release whose authors are unknown.")
    needs_change_ref: bool = Field(default=False, description="Refuse a rollout without `changeRef`.")
    early: bool = Field(default=False, description="Take votes before the gate asks for them.")

    @model_validator(mode="after")
    def _who(self) -> ApprovalSpec:
        if (self.group is None) == (self.groups is None):
            raise ValueError("name a group, or groups")
        if self.groups is not None and "count" in self.model_fields_set:
            raise ValueError("count goes with group; groups has a number for each")
        if self.at_least is not None and self.at_least > len(self.groups or {}):
            raise ValueError("atLeast is a number of groups, at most all of them")
        return self

    @property
    def needs(self) -> Mapping[str, int]:
        """How many different people each group must bring."""
        return self.groups or {self.group or "": self.count}

    @property
    def must(self) -> int:
        """How many of the groups must have said yes."""
        return self.at_least or len(self.needs)


class ApprovalGate:
    """See the module."""

    kind = "approval"
    spec = ApprovalSpec

    def interval(self, _spec: ApprovalSpec) -> float:
        """People are slow; a vote is heard within this."""
        return 1.0

    async def observe(self, spec: ApprovalSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Read the votes on record. `asked`: whether the gate asks now; `asks`: whom."""
        votes = await ports.votes.votes(scene.rollout_id, scene.key)
        return {
            "asked": not scene.blocked,
            "asks": dict(spec.needs),
            "planHash": scene.plan.plan_hash,
            "changeRef": scene.change_ref,
            "votes": [
                {
                    "person": v.person,
                    "names": sorted(v.names),
                    "group": v.group,
                    "word": v.word,
                    "planHash": v.plan_hash,
                    "at": v.at.isoformat(),
                    "reason": v.reason,
                }
                for v in votes
            ],
        }

    def judge(self, spec: ApprovalSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """Count who counts."""
        votes = [vote for vote in evidence["votes"] if _bound(vote, spec, scene)]
        if spec.known_authors and scene.plan.kind == "deploy" and not scene.authors:
            return Judged(Verdict.FAIL, "the release names no authors, so nobody can be shown not to be one of them")
        no = next((vote for vote in votes if vote["word"] == "reject"), None)
        if no is not None:
            return Judged(Verdict.FAIL, f"rejected by {no['person']} ({no['group']}): {no['reason']}")
        people = _people(votes, spec, scene)
        missing = {group: n for group, n in spec.needs.items() if len(people[group]) < n}
        if len(spec.needs) - len(missing) >= spec.must:
            return Judged(Verdict.PASS, f"approved by {', '.join(sorted(set().union(*people.values())))}")
        counted = _counted(spec, people)
        if scene.blocked:
            return Judged(Verdict.WAIT, f"not asked yet: {scene.blocked} ({counted})")
        return Judged(Verdict.WAIT, counted, who=", ".join(f"approver:{group}" for group in missing))


def _bound(vote: Mapping[str, Any], spec: ApprovalSpec, scene: GateScene) -> bool:
    """Whether a vote is for this plan and for a group that is asked."""
    return vote["planHash"] == scene.plan.plan_hash and vote["group"] in spec.needs


def _people(votes: Sequence[Mapping[str, Any]], spec: ApprovalSpec, scene: GateScene) -> dict[str, set[str]]:
    """Whose yes counts, by group: in time, once, and never the requester's or an author's."""
    excluded = {scene.requested_by.lower(), *(author.lower() for author in scene.authors)}
    people: dict[str, set[str]] = {group: set() for group in spec.needs}
    seen: set[str] = set()
    for vote in votes:
        names = {vote["person"].lower(), *vote.get("names", ())}
        fresh = datetime.fromisoformat(vote["at"]) + spec.expires > scene.now
        if vote["word"] == "approve" and fresh and not names & excluded and not names & seen:
            seen |= names
            people[vote["group"]].add(vote["person"])
    return people


def _counted(spec: ApprovalSpec, people: Mapping[str, set[str]]) -> str:
    if spec.group is not None:
        return f"{len(people[spec.group])} of {spec.count} approvals by group {spec.group}"
    parts = ", ".join(f"{group} {len(people[group])} of {n}" for group, n in spec.needs.items())
    return f"approvals: {parts}" + (f"; {spec.must} of these groups are enough" if spec.must < len(spec.needs) else "")
