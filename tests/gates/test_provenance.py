"""The provenance gate over real signatures: what is missing waits, what is wrong fails, what can't be checked is unknown."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.adapters.signatures import OfflineSignatures
from controlplane.domain.gating import GateKey, Judged, Verdict
from controlplane.domain.releases import ReleaseSpec
from controlplane.domain.requests import RolloutRequest
from controlplane.gates.provenance import SLSA, ProvenanceGate, ProvenanceSpec
from controlplane.ports.facts import Configured, Ran, TargetFact
from controlplane.ports.gates import GatePorts, Vote
from controlplane.ports.stores.evidence import BackupRecord, EvidenceRecord
from tests.gates.scene import back, scene
from tests.support.signing import Authority, new_key, pem_of, sign, statement, tampered

ARTIFACT, IMAGE, COMMIT = "sha256:" + "a" * 64, "sha256:" + "b" * 64, "4c1d" * 10
NOW = datetime.now(UTC)
KEY, OTHER = new_key(), new_key()
TRUST: dict[str, Any] = {
    "keys": [{"name": "ci", "publicKey": pem_of(KEY)}, {"name": "nightly", "publicKey": pem_of(OTHER)}]
}


def spec_of(**more: Any) -> ReleaseSpec:
    body = {
        "app": "odoo",
        "version": "17.0.4",
        "source": {"format": "helm", "artifact": ARTIFACT},
        "images": {"web": f"acme.example/odoo@{IMAGE}"},
        "provenance": {"commit": COMMIT},
    }
    return ReleaseSpec.model_validate(body | more)


@dataclass
class Registry:
    """One release, what was attested of it, and whom to believe."""

    release_spec: ReleaseSpec = field(default_factory=spec_of)
    trusts: dict[str, Any] = field(default_factory=lambda: {"acme": TRUST})
    records: list[EvidenceRecord] = field(default_factory=list)

    def attest(self, envelope: dict[str, Any], kind: str = "provenance", *certificates: str) -> None:
        body = {"kind": kind, "envelope": envelope, "certificates": list(certificates)}
        self.records.append(EvidenceRecord(uuid.uuid4(), "odoo", "17.0.4", kind, NOW, body, NOW, "ci"))

    async def release(self, app: str, version: str) -> ReleaseSpec | None:
        return self.release_spec

    async def evidence(self, app: str, version: str) -> Sequence[EvidenceRecord]:
        return self.records

    async def proven(self, app: str, version: str) -> bool:
        return False

    async def wish(self, rollout_id: uuid.UUID) -> RolloutRequest | None:
        return None

    async def configured(self, kind: str) -> Sequence[Configured]:
        return [Configured(name, 1, spec) for name, spec in self.trusts.items()]

    async def targets(self, rollout_id: uuid.UUID, tenants: Collection[str]) -> Mapping[str, TargetFact]:
        return {}

    async def ran(self, app: str, environment: str, tenants: Collection[str] | None) -> Sequence[Ran]:
        return ()

    async def values(self, hashes: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        return {}

    async def backups(self, environment: str, tenants: Collection[str]) -> Mapping[str, BackupRecord]:
        return {}

    async def seen(self, rollout_id: uuid.UUID, wave: int, kind: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
        return ()


class NoVotes:
    async def votes(self, rollout_id: uuid.UUID, key: GateKey) -> Sequence[Vote]:
        return ()


async def look(registry: Registry, **spec: Any) -> Judged:
    wanted = ProvenanceSpec.model_validate({"trust": "acme", **spec})
    ports = GatePorts(NoVotes(), facts=registry, signatures=OfflineSignatures())
    evidence = await ProvenanceGate().observe(wanted, scene(), ports)
    return ProvenanceGate().judge(wanted, scene(), evidence)


def built(*digests: str, commit: str = COMMIT, kind: str = SLSA) -> dict[str, Any]:
    resolved = [{"uri": "git+https://github.com/acme/odoo", "digest": {"gitCommit": commit}}]
    predicate = {"buildDefinition": {"resolvedDependencies": resolved}}
    return statement(digests or (ARTIFACT, IMAGE), predicate, kind)


async def test_bytes_that_a_trusted_key_attested_from_the_commit_of_the_release_pass() -> None:
    registry = Registry()
    registry.attest(sign(KEY, built()))
    found = await look(registry)
    assert found == Judged(Verdict.PASS, "odoo/17.0.4 was built by whom it should be")


async def test_artifact_and_images_may_be_attested_apart_and_what_is_missing_waits() -> None:
    registry = Registry()
    assert (await look(registry)).reason.startswith("odoo/17.0.4: nobody attested where sha256:aaaa")
    registry.attest(sign(KEY, built(ARTIFACT)))
    waiting = await look(registry)
    assert (waiting.verdict, waiting.who) == (Verdict.WAIT, "ci")
    assert "sha256:bbbb" in waiting.reason
    registry.attest(sign(KEY, built(IMAGE)))
    assert (await look(registry)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        (tampered(sign(KEY, built())), "no trusted key made any of its signatures"),
        (sign(new_key(), built()), "no trusted key"),
        (sign(KEY, built(commit="f" * 40)), "says commit 4c1d"),
        (sign(KEY, built(kind="https://evil.example/v1")), "is of type https://evil.example/v1"),
    ],
)
async def test_tampering_a_strangers_key_another_commit_and_another_statement_fail(
    envelope: dict[str, Any], reason: str
) -> None:
    registry = Registry()
    registry.attest(envelope)
    found = await look(registry)
    assert found.verdict is Verdict.FAIL
    assert reason in found.reason


async def test_an_attestation_about_other_bytes_says_nothing_about_these() -> None:
    registry = Registry()
    registry.attest(sign(KEY, built("sha256:" + "c" * 64)))
    assert (await look(registry)).verdict is Verdict.WAIT


async def test_junk_beside_a_good_attestation_does_not_stop_a_release() -> None:
    registry = Registry()
    registry.attest(sign(new_key(), built()))
    registry.attest(sign(KEY, built()))
    assert (await look(registry)).verdict is Verdict.PASS


async def test_two_signers_may_be_asked_for_and_only_some_may_count() -> None:
    registry = Registry()
    registry.attest(sign(KEY, built()))
    assert (await look(registry, signatures=2)).verdict is Verdict.WAIT
    assert (await look(registry, signers=["nightly"])).verdict is Verdict.FAIL
    registry.attest(sign(OTHER, built()))
    assert (await look(registry, signatures=2)).verdict is Verdict.PASS
    assert (await look(registry, signers=["nightly"])).verdict is Verdict.PASS


async def test_a_certificate_counts_while_it_was_valid_when_seawall_received_it() -> None:
    authority, key = Authority(), new_key()
    registry = Registry()
    workflow = "https://github.com/acme/odoo/.github/workflows/release.yml@refs/heads/main"
    identities = [{"name": "release-workflow", "subject": workflow}]
    registry.trusts["acme"] = {"authorities": [authority.pem], "identities": identities}
    registry.attest(sign(key, built()), "provenance", authority.vouch(key, since=NOW - timedelta(minutes=5)))
    assert (await look(registry, signers=["release-workflow"])).verdict is Verdict.PASS
    registry.records.clear()
    registry.attest(sign(key, built()), "provenance", authority.vouch(key, since=NOW - timedelta(hours=2)))
    late = await look(registry)
    assert late.verdict is Verdict.FAIL
    assert "was not valid at" in late.reason
    registry.records.clear()
    registry.attest(
        sign(key, built()),
        "provenance",
        authority.vouch(key, "https://github.com/evil/odoo", since=NOW - timedelta(minutes=1)),
    )
    assert "which no configured identity names" in (await look(registry)).reason


async def test_the_commit_must_be_approved_by_whom_the_gate_names() -> None:
    registry = Registry()
    reviewer = new_key()
    registry.trusts["review"] = {"keys": [{"name": "branch-protection", "publicKey": pem_of(reviewer)}]}
    registry.attest(sign(KEY, built()))
    approval = {"trust": "review", "signers": ["branch-protection"]}
    assert (await look(registry, approvedCommit=approval)).verdict is Verdict.WAIT
    said = statement([ARTIFACT], {"commit": COMMIT, "branch": "main"}, "https://seawall.dev/commit/v1")
    registry.attest(sign(new_key(), said), "commit")
    assert (await look(registry, approvedCommit=approval)).verdict is Verdict.FAIL
    registry.attest(sign(reviewer, said), "commit")
    assert (await look(registry, approvedCommit=approval)).reason.endswith("from an approved commit")


async def test_without_its_trust_it_is_unknown_and_a_release_without_a_commit_fails() -> None:
    registry = Registry(trusts={})
    registry.attest(sign(KEY, built()))
    assert (await look(registry)).verdict is Verdict.UNKNOWN
    registry = Registry(release_spec=spec_of(provenance={}))
    registry.attest(sign(KEY, built()))
    assert "does not say from which commit" in (await look(registry)).reason
    assert (await look(registry, commit=False)).verdict is Verdict.PASS


async def test_an_image_without_a_digest_fails_and_a_way_back_is_not_asked() -> None:
    registry = Registry(release_spec=spec_of(images={"web": "acme.example/odoo:17"}))
    registry.attest(sign(KEY, built()))
    assert "not pinned by a digest" in (await look(registry)).reason
    wanted = ProvenanceSpec(trust="acme")
    assert ProvenanceGate().judge(wanted, back(), {"error": "x"}).verdict is Verdict.PASS
