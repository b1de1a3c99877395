"""provenance: the bytes of the release are those that somebody trusted built, from a commit that was approved.

Every digest of the release (its artifact, each image) must be a subject of an attestation of kind `provenance` that enough trusted signers
signed. Missing attestations wait; a bad or expired signature, other bytes, another commit, and an image without a digest fail; without the trust
that the gate names it is `unknown`. Looked at when a rollout is planned, and again before its waves start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from controlplane.domain.evidence import Envelope, commits_of, release_subjects, statement_of, subject_digests
from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.names import Name
from controlplane.domain.releases import ReleaseSpec, is_pinned
from controlplane.domain.trust import TrustSpec
from controlplane.domain.wire import Wire
from controlplane.gates.evidence import CI, SignedBy, trust_named
from controlplane.gates.scenes import goes_back, releases_of, subjects, worst
from controlplane.ports.gates import Evidence, GatePorts, GateScene
from controlplane.ports.signatures import Signatures
from controlplane.ports.stores.evidence import EvidenceRecord

SLSA = "https://slsa.dev/provenance/v1"


class ProvenanceSpec(Wire):
    """`{"provenance": {"trust": "acme", "signers": ["release-workflow"]}}`."""

    trust: Name = Field(description="A trust of `PUT /v1/trusts/{name}`: whom to believe.")
    signers: tuple[Name, ...] = Field(default=(), max_length=20, description="Names in it; none: anybody in it.")
    signatures: int = Field(default=1, ge=1, le=10, description="So many different signers for each digest.")
    predicate_types: tuple[str, ...] = Field(default=(SLSA,), min_length=1, max_length=10)
    commit: bool = Field(default=True, description="The release names a commit, and what was signed names the same.")
    approved_commit: SignedBy | None = Field(
        default=None, description="Who must have attested (kind `commit`) that the commit is an approved one."
    )


class ProvenanceGate:
    """See the module."""

    kind = "provenance"
    spec = ProvenanceSpec
    at_plan = True

    def interval(self, _spec: ProvenanceSpec) -> float:
        """Attestations come from pipelines that take minutes."""
        return 5.0

    async def observe(self, spec: ProvenanceSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Check every attestation of the wave's releases against the trust in force now."""
        facts, signatures = ports.facts, ports.signatures
        if facts is None or signatures is None:
            return {"error": "this process checks no signatures"}
        trust = await trust_named(facts, spec.trust)
        if trust is None:
            return {"error": f"there is no trust {spec.trust}; create it with PUT /v1/trusts/{spec.trust}"}
        approvers = await trust_named(facts, spec.approved_commit.trust) if spec.approved_commit else None
        if spec.approved_commit and approvers is None:
            return {"error": f"there is no trust {spec.approved_commit.trust}"}
        found: dict[str, Any] = {}
        for version in await releases_of(scene, facts):
            release = await facts.release(scene.plan.app, version)
            if release is None:
                return {"error": f"release {scene.plan.app}/{version} is not registered"}
            records = await facts.evidence(scene.plan.app, version)
            found[version] = _shown(release) | {
                "attestations": _checked(signatures, trust, [r for r in records if r.kind == "provenance"]),
                "commits": _checked(signatures, approvers, [r for r in records if r.kind == "commit"]),
            }
        return {"releases": found}

    def judge(self, spec: ProvenanceSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """The worst of what each release lacks."""
        if goes_back(scene):
            return Judged(Verdict.PASS, "what it goes back to was asked about when it came")
        if evidence.get("error"):
            return Judged(Verdict.UNKNOWN, f"could not measure: {evidence['error']}")
        releases = evidence["releases"].items()
        return worst([judge_release(spec, f"{scene.plan.app}/{version}", shown) for version, shown in releases])

    def judge_each(self, spec: ProvenanceSpec, scene: GateScene, evidence: Evidence) -> Mapping[str, Judged]:
        """The same for every tenant."""
        return dict.fromkeys(subjects(scene), self.judge(spec, scene, evidence))


def judge_release(spec: ProvenanceSpec, release: str, shown: Mapping[str, Any]) -> Judged:
    """Judge one release by what `observe` gives of it."""
    if shown["loose"]:
        return Judged(Verdict.FAIL, f"{release}: image {shown['loose'][0]} is not pinned by a digest")
    good = [a for a in shown["attestations"] if a["outcome"] == "valid" and a["type"] in spec.predicate_types]
    for digest in shown["digests"]:
        signers = {name for a in good if digest in a["subjects"] for name in _wanted(a["signers"], spec.signers)}
        if len(signers) < spec.signatures:
            return _lacking(spec, release, digest, len(signers), shown["attestations"])
    return _judge_commit(spec, release, shown, good)


def _lacking(
    spec: ProvenanceSpec, release: str, digest: str, signers: int, attestations: Sequence[Mapping[str, Any]]
) -> Judged:
    """Why a digest has too few signers: nothing came yet, or what came is no good."""
    bad = next((a for a in attestations if digest in a["subjects"] and a["outcome"] != "valid"), None)
    if bad is not None:
        return Judged(Verdict.FAIL, f"{release}: an attestation about {digest[:19]} is not good: {bad['reason']}")
    about = [a for a in attestations if digest in a["subjects"]]
    strangers = [a for a in about if not _wanted(a["signers"], spec.signers)]
    if strangers:
        said = ", ".join(strangers[0]["signers"])
        return Judged(
            Verdict.FAIL, f"{release}: {digest[:19]} is signed by {said}, not by one of {', '.join(spec.signers)}"
        )
    wrong = next((a for a in about if a["type"] not in spec.predicate_types), None)
    if wrong is not None and len(about) == 1:
        return Judged(Verdict.FAIL, f"{release}: the attestation about {digest[:19]} is of type {wrong['type']}")
    have = f"{signers} of {spec.signatures} signers attested" if signers else "nobody attested"
    return Judged(Verdict.WAIT, f"{release}: {have} where {digest[:19]} comes from", who=CI)


def _judge_commit(
    spec: ProvenanceSpec, release: str, shown: Mapping[str, Any], good: Sequence[Mapping[str, Any]]
) -> Judged:
    commit = shown["commit"]
    if (spec.commit or spec.approved_commit) and not commit:
        return Judged(Verdict.FAIL, f"{release} does not say from which commit it was built")
    signed = {one for attestation in good for one in attestation["commits"]}
    if spec.commit and commit not in signed:
        built = ", ".join(sorted(signed)) or "no commit at all"
        return Judged(Verdict.FAIL, f"{release} says commit {commit}, what was signed says {built}")
    if spec.approved_commit is not None:
        return _judge_approval(spec.approved_commit, release, commit, shown["commits"])
    return Judged(Verdict.PASS, f"{release} was built by whom it should be")


def _judge_approval(by: SignedBy, release: str, commit: str, attestations: Sequence[Mapping[str, Any]]) -> Judged:
    about = [a for a in attestations if commit in a["commits"]]
    if any(a["outcome"] == "valid" and _wanted(a["signers"], by.signers) for a in about):
        return Judged(Verdict.PASS, f"{release} was built by whom it should be, from an approved commit")
    if about:
        return Judged(Verdict.FAIL, f"{release}: the approval of commit {commit} is not good: {about[0]['reason']}")
    return Judged(Verdict.WAIT, f"{release}: nobody attested that commit {commit} is approved", who=CI)


def _wanted(signers: Iterable[str], named: Sequence[str]) -> set[str]:
    return {signer for signer in signers if not named or signer in named}


def _shown(release: ReleaseSpec) -> dict[str, Any]:
    loose = sorted(name for name, reference in release.images.items() if not is_pinned(reference))
    return {
        "digests": sorted(release_subjects(release)),
        "loose": loose,
        "commit": release.provenance.commit or "",
    }


def _checked(
    signatures: Signatures, trust: TrustSpec | None, records: Sequence[EvidenceRecord]
) -> list[dict[str, Any]]:
    found = []
    for record in records:
        body = record.body
        if not body.get("envelope") or trust is None:
            continue
        envelope = Envelope.model_validate(body["envelope"])
        checked = signatures.check(envelope, tuple(body.get("certificates") or ()), trust, record.received_at)
        claimed = statement_of(envelope)
        found.append(
            {
                "id": str(record.id),
                "outcome": checked.outcome,
                "reason": checked.reason,
                "signers": list(checked.signers),
                "type": claimed["predicateType"],
                "subjects": sorted(subject_digests(claimed)),
                "commits": sorted(commits_of(claimed)),
            }
        )
    return found
