"""evidence: what CI attested about the release is there, young enough, and good enough.

The newest attestation of a kind counts, whatever an older one said. Missing or too old waits (CI may still send it); one that says it
failed, or that breaks a threshold, fails; a result that a threshold asks for and that is not there is `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from controlplane.domain.evidence import (
    Envelope,
    EvidenceKind,
    ResultName,
    release_subjects,
    results_of,
    statement_of,
    subject_digests,
)
from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.names import Name
from controlplane.domain.quantities import Duration, format_duration
from controlplane.domain.trust import TrustSpec
from controlplane.domain.wire import Wire
from controlplane.gates.scenes import goes_back, releases_of, subjects, worst
from controlplane.ports.facts import Facts
from controlplane.ports.gates import Evidence, GatePorts, GateScene
from controlplane.ports.signatures import Signatures
from controlplane.ports.stores.evidence import EvidenceRecord

CI = "ci"


class SignedBy(Wire):
    """Whose signature is needed: of a configured trust, anybody, or one of `signers`."""

    trust: Name = Field(description="A trust of `PUT /v1/trusts/{name}`.")
    signers: tuple[Name, ...] = Field(default=(), max_length=20, description="Names in it; none: anybody in it.")


class Required(Wire):
    """One kind of attestation and what it must show."""

    kind: EvidenceKind
    max_age: Duration | None = Field(default=None, description="Counted from `at`; none: any age.")
    max: dict[ResultName, float] = Field(default_factory=dict, description="Results that may not be above this.")
    min: dict[ResultName, float] = Field(default_factory=dict, description="Results that may not be below this.")
    signed_by: SignedBy | None = Field(default=None, description="None: whoever may register evidence is believed.")


class EvidenceSpec(Wire):
    """`{"evidence": {"require": [{"kind": "security", "maxAge": "P7D", "max": {"critical": 0}}]}}`."""

    require: tuple[Required, ...] = Field(min_length=1, max_length=20)


class EvidenceGate:
    """See the module."""

    kind = "evidence"
    spec = EvidenceSpec
    at_plan = True

    def interval(self, _spec: EvidenceSpec) -> float:
        """Attestations come from pipelines that take minutes."""
        return 5.0

    async def observe(self, spec: EvidenceSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Read the newest of each kind, of each release the wave would get."""
        if ports.facts is None:
            return {"error": "this process can't read evidence"}
        found: dict[str, Any] = {}
        for version in await releases_of(scene, ports.facts):
            records = await ports.facts.evidence(scene.plan.app, version)
            shown = []
            for wanted in spec.require:
                record = next((r for r in records if r.kind == wanted.kind), None)
                shown.append(None if record is None else await _shown(wanted, record, version, scene, ports))
            found[version] = shown
        return {"releases": found}

    def judge(self, spec: EvidenceSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """Judge each requirement for each release; the worst counts."""
        if goes_back(scene):
            return Judged(Verdict.PASS, "a way back needs no new evidence")
        if evidence.get("error"):
            return Judged(Verdict.UNKNOWN, f"could not measure: {evidence['error']}")
        return worst(
            [
                judge_one(wanted, f"{scene.plan.app}/{version}", shown, scene.now)
                for version, found in evidence["releases"].items()
                for wanted, shown in zip(spec.require, found, strict=True)
            ]
        )

    def judge_each(self, spec: EvidenceSpec, scene: GateScene, evidence: Evidence) -> Mapping[str, Judged]:
        """The same for every tenant."""
        return dict.fromkeys(subjects(scene), self.judge(spec, scene, evidence))


def judge_one(wanted: Required, release: str, shown: Mapping[str, Any] | None, now: datetime) -> Judged:
    """Judge one requirement. `shown`: the newest attestation of its kind as `observe` gives it."""
    if shown is None:
        return Judged(Verdict.WAIT, f"nothing of kind {wanted.kind} was attested about {release}", who=CI)
    if shown.get("signature"):
        outcome, reason = shown["signature"]["outcome"], shown["signature"]["reason"]
        if outcome == "unknown":
            return Judged(Verdict.UNKNOWN, f"could not check the signature of {wanted.kind}: {reason}")
        if outcome != "valid":
            return Judged(Verdict.FAIL, f"the signature of {wanted.kind} is not good: {reason}")
    if not shown["passed"]:
        return Judged(Verdict.FAIL, f"{wanted.kind} of {release} says that it failed")
    age = now - datetime.fromisoformat(shown["at"])
    if wanted.max_age is not None and age > wanted.max_age:
        reason = f"{wanted.kind} of {release} is older than {format_duration(wanted.max_age)} (from {shown['at']})"
        return Judged(Verdict.WAIT, reason, who=CI)
    return worst([*_bounds(wanted, shown["results"]), Judged(Verdict.PASS, f"{wanted.kind} of {release} is good")])


def _bounds(wanted: Required, results: Mapping[str, Any]) -> Sequence[Judged]:
    found = []
    for name, limit, above in [(n, v, True) for n, v in wanted.max.items()] + [
        (n, v, False) for n, v in wanted.min.items()
    ]:
        value = results.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            found.append(Judged(Verdict.UNKNOWN, f"{wanted.kind} says no number {name}"))
        elif value > limit if above else value < limit:
            sign = ">" if above else "<"
            found.append(Judged(Verdict.FAIL, f"{wanted.kind}: {name} {value:g} {sign} {limit:g}"))
    return found


async def _shown(
    wanted: Required, record: EvidenceRecord, version: str, scene: GateScene, ports: GatePorts
) -> dict[str, Any]:
    body = record.body
    envelope = Envelope.model_validate(body["envelope"]) if body.get("envelope") else None
    signature: dict[str, Any] | None = None
    results = dict(body.get("results") or {})
    if wanted.signed_by is not None and ports.facts is not None:
        signature, results = await _checked(wanted.signed_by, record, envelope, version, scene, ports)
    elif envelope is not None:
        results = results_of_envelope(envelope)
    return {
        "id": str(record.id),
        "at": record.at.isoformat(),
        "passed": body.get("passed", True),
        "results": results,
        "reportedBy": record.reported_by,
        "signature": signature,
    }


async def _checked(
    wanted: SignedBy,
    record: EvidenceRecord,
    envelope: Envelope | None,
    version: str,
    scene: GateScene,
    ports: GatePorts,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the signature is worth, and the results that are signed."""
    if ports.facts is None or ports.signatures is None:
        return _said("unknown", "this process checks no signatures"), {}
    trust = await trust_named(ports.facts, wanted.trust)
    if trust is None:
        return _said("unknown", f"there is no trust {wanted.trust}"), {}
    if envelope is None:
        return _said("invalid", "it is not signed"), {}
    release = await ports.facts.release(scene.plan.app, version)
    return check_envelope(
        ports.signatures, wanted, trust, record, envelope, release_subjects(release) if release else frozenset()
    )


def check_envelope(
    signatures: Signatures,
    wanted: SignedBy,
    trust: TrustSpec,
    record: EvidenceRecord,
    envelope: Envelope,
    about: frozenset[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check who signed, and that it is about this release (`about`: its digests, one of which must be a subject)."""
    certificates = tuple(record.body.get("certificates") or ())
    checked = signatures.check(envelope, certificates, trust, record.received_at)
    if checked.outcome != "valid":
        return _said(checked.outcome, checked.reason), {}
    if wanted.signers and not set(checked.signers) & set(wanted.signers):
        return _said("invalid", f"{checked.reason}, not by one of {', '.join(wanted.signers)}"), {}
    if not subject_digests(checked.statement) & about:
        return _said("invalid", "it is about other bytes than this release's"), {}
    return _said("valid", checked.reason), results_of(checked.statement)


async def trust_named(facts: Facts, name: str) -> TrustSpec | None:
    """A configured trust."""
    found = next((one for one in await facts.configured("trusts") if one.name == name), None)
    return TrustSpec.model_validate(found.spec) if found else None


def results_of_envelope(envelope: Envelope) -> dict[str, Any]:
    """What an envelope claims; nobody has checked its signature."""
    return results_of(statement_of(envelope))


def _said(outcome: str, reason: str) -> dict[str, Any]:
    return {"outcome": outcome, "reason": reason}
