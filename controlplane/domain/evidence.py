"""Evidence about a release: what CI and others attest, once and for good (`POST /v1/releases/{app}/{version}/evidence`).

A signed attestation is a DSSE envelope (https://github.com/secure-systems-lab/dsse) around an in-toto Statement
(https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md), as cosign writes it. Pure: nothing here checks a signature.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from controlplane.domain.releases import ReleaseSpec
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire

EvidenceKind = Literal[
    "packaging", "dependencies", "security", "performance-baseline", "rehearsal", "provenance", "commit"
]
IN_TOTO: Final = "application/vnd.in-toto+json"
AHEAD: Final = timedelta(minutes=5)
"""A clock of CI may be ahead of ours by so much."""
MAX_PAYLOAD: Final = 400_000

ResultName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$")]
ResultText = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]
Result = bool | int | Annotated[float, Field(allow_inf_nan=False)] | ResultText


class EnvelopeSignature(Wire):
    """One signature of an envelope: base64, and which key made it (a hint, may be empty)."""

    keyid: Annotated[str, Field(max_length=500)] = ""
    sig: Annotated[str, Field(min_length=1, max_length=10_000)]


class Envelope(Wire):
    """A DSSE envelope: base64 payload, its type, signatures."""

    payload: Annotated[str, Field(min_length=1, max_length=MAX_PAYLOAD)]
    payload_type: Annotated[str, Field(min_length=1, max_length=200)] = IN_TOTO
    signatures: tuple[EnvelopeSignature, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _statement(self) -> Self:
        statement_of(self)
        return self


class EvidenceWish(Wire):
    """What is attested. Unsigned: `results` as given. Signed: `envelope`, whose statement's predicate carries the results."""

    kind: EvidenceKind
    at: AwareDatetime = Field(description="When it was measured, built or rehearsed; its age counts from then.")
    passed: bool = Field(default=True, description="false: it failed, and a gate that asks for this kind fails.")
    results: dict[ResultName, Result] = Field(
        default_factory=dict, max_length=100, description="Numbers that thresholds look at."
    )
    url: PlainText = Field(default="", description="Where a person can read more.")
    envelope: Envelope | None = Field(default=None, description="A DSSE envelope around an in-toto Statement.")
    certificates: tuple[Annotated[str, Field(max_length=20_000)], ...] = Field(
        default=(), max_length=5, description="PEM: the signer's certificate, then intermediates; none for a plain key."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.envelope is not None and self.results:
            raise ValueError("a signed attestation carries its results in the statement's predicate: leave results out")
        if self.certificates and self.envelope is None:
            raise ValueError("certificates without an envelope say nothing")
        return self


def statement_of(envelope: Envelope) -> dict[str, Any]:
    """The in-toto Statement inside. Raises ValueError where the payload is none; says nothing about signatures."""
    if envelope.payload_type != IN_TOTO:
        raise ValueError(f"payloadType must be {IN_TOTO}")
    try:
        statement = json.loads(base64.b64decode(envelope.payload, validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise ValueError("the payload is not base64 of a JSON document") from error
    subjects = statement.get("subject") if isinstance(statement, dict) else None
    usable = isinstance(subjects, list) and subjects and all(isinstance(s, dict) for s in subjects)
    if not usable or not isinstance(statement.get("predicateType"), str):
        raise ValueError("the payload is not an in-toto Statement: it needs subject and predicateType")
    if not isinstance(statement.get("predicate", {}), dict):
        raise ValueError("the statement's predicate is not an object")  # noqa: TRY004 - pydantic reports only ValueErrors
    return dict(statement)


def subject_digests(statement: Mapping[str, Any]) -> frozenset[str]:
    """The sha256 digests that a statement is about, as `sha256:<hex>`."""
    digests = (subject.get("digest") for subject in statement["subject"])
    return frozenset(
        f"sha256:{digest['sha256']}"
        for digest in digests
        if isinstance(digest, dict) and isinstance(digest.get("sha256"), str)
    )


def release_subjects(spec: ReleaseSpec) -> frozenset[str]:
    """Every digest that a release consists of: its artifact and its images."""
    return frozenset({spec.source.artifact, *(ref.rpartition("@")[2] for ref in spec.images.values())})


def results_of(statement: Mapping[str, Any]) -> dict[str, Any]:
    """The results that a signed statement carries: `predicate.results`, numbers, booleans and texts only."""
    found = (statement.get("predicate") or {}).get("results")
    return (
        {k: v for k, v in found.items() if isinstance(v, bool | int | float | str)} if isinstance(found, dict) else {}
    )


def commits_of(statement: Mapping[str, Any]) -> frozenset[str]:
    """The commits a SLSA v1 provenance (https://slsa.dev/spec/v1.0/provenance) was built from, or a plain `predicate.commit`."""
    predicate = statement.get("predicate") or {}
    found = {predicate.get("commit")}
    definition = predicate.get("buildDefinition")
    resolved = definition.get("resolvedDependencies") if isinstance(definition, dict) else None
    for one in resolved if isinstance(resolved, list) else ():
        digest = one.get("digest") if isinstance(one, dict) else None
        if isinstance(digest, dict):
            found |= {digest.get("gitCommit"), digest.get("sha1")}
    return frozenset(commit for commit in found if isinstance(commit, str) and commit)
