"""Signed attestations, checked offline: the right key, tampering, another identity, and signatures outside their time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import ValidationError

from controlplane.adapters.signatures import OfflineSignatures
from controlplane.domain.errors import InvalidError
from controlplane.domain.evidence import Envelope
from controlplane.domain.trust import TrustSpec
from controlplane.ports.signatures import Checked
from tests.support.signing import WORKFLOW, Authority, new_key, pem_of, sign, statement, tampered

DIGEST = "sha256:" + "a" * 64
BODY = statement([DIGEST], {"results": {"critical": 0}}, "https://seawall.dev/security/v1")
NOW = datetime.now(UTC)


def check(trust: dict[str, Any], envelope: dict[str, Any], *certificates: str, at: datetime = NOW) -> Checked:
    spec = TrustSpec.model_validate(trust)
    return OfflineSignatures().check(Envelope.model_validate(envelope), certificates, spec, at)


@pytest.mark.parametrize(
    ("key", "scheme"),
    [
        (new_key(), None),
        (ed25519.Ed25519PrivateKey.generate(), None),
        (rsa.generate_private_key(65537, 2048), None),
    ],
)
def test_what_a_trusted_key_signed_is_valid_whatever_hint_the_signature_has(key: Any, scheme: str | None) -> None:
    trust = {"keys": [{"name": "ci", "publicKey": pem_of(key), "scheme": scheme}]}
    found = check(trust, sign(key, BODY))
    assert (found.outcome, found.signers) == ("valid", ("ci",))
    assert found.statement["predicate"] == {"results": {"critical": 0}}
    assert check(trust, sign(key, BODY, keyid="something else")).outcome == "valid"


def test_tampering_and_a_strangers_key_are_found() -> None:
    key = new_key()
    trust = {"keys": [{"name": "ci", "publicKey": pem_of(key)}]}
    assert check(trust, tampered(sign(key, BODY))).outcome == "invalid"
    assert check(trust, sign(new_key(), BODY)).outcome == "invalid"
    broken = {**sign(key, BODY), "signatures": [{"sig": "%%%"}, {"sig": "AAAA"}]}
    assert check(trust, broken).outcome == "invalid"


def test_a_key_outside_its_time_has_expired() -> None:
    key = new_key()
    late = {"name": "ci", "publicKey": pem_of(key), "notAfter": (NOW - timedelta(days=1)).isoformat()}
    early = {"name": "ci", "publicKey": pem_of(key), "notBefore": (NOW + timedelta(days=1)).isoformat()}
    assert check({"keys": [late]}, sign(key, BODY)).outcome == "expired"
    assert check({"keys": [late]}, sign(key, BODY), at=NOW - timedelta(days=2)).outcome == "valid"
    assert check({"keys": [early]}, sign(key, BODY)).outcome == "expired"


def trusting(authority: Authority, subject: str = WORKFLOW) -> dict[str, Any]:
    return {"authorities": [authority.pem], "identities": [{"name": "release-workflow", "subject": subject}]}


def test_a_certificate_stands_for_the_identity_it_is_made_out_to_at_the_time_it_was_received() -> None:
    authority, key = Authority(), new_key()
    certificate = authority.vouch(key, since=NOW - timedelta(minutes=1))
    found = check(trusting(authority), sign(key, BODY), certificate)
    assert (found.outcome, found.signers) == ("valid", ("release-workflow",))
    later = check(trusting(authority), sign(key, BODY), certificate, at=NOW + timedelta(hours=1))
    assert (later.outcome, later.signers) == ("expired", ())


def test_another_identity_another_authority_another_key_and_another_purpose_are_refused() -> None:
    authority, key = Authority(), new_key()
    envelope, certificate = sign(key, BODY), authority.vouch(key, since=NOW - timedelta(minutes=1))
    other = check(trusting(authority, "https://github.com/evil/odoo"), envelope, certificate)
    assert other.outcome == "invalid"
    assert "no configured identity" in other.reason
    assert check(trusting(Authority()), envelope, certificate).outcome == "invalid"
    assert check(trusting(authority), sign(new_key(), BODY), certificate).outcome == "invalid"
    tls = authority.vouch(key, since=NOW - timedelta(minutes=1), usage=ExtendedKeyUsageOID.SERVER_AUTH)
    refused = check(trusting(authority), envelope, tls)
    assert refused.outcome == "invalid"
    assert "vouches" in refused.reason
    assert check(trusting(authority), envelope, "not a certificate").outcome == "invalid"
    assert check({"keys": [{"name": "x", "publicKey": pem_of(new_key())}]}, envelope, certificate).outcome == "invalid"


@pytest.mark.parametrize(
    "trust",
    [
        {},
        {"authorities": ["x"]},
        {"identities": [{"name": "a", "subject": "b"}]},
        {"keys": [{"name": "a", "publicKey": "x"}, {"name": "a", "publicKey": "y"}]},
    ],
)
def test_a_trust_that_trusts_nobody_or_half_is_refused(trust: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrustSpec.model_validate(trust)


def test_keys_and_certificates_that_can_not_be_read_are_named() -> None:
    spec = {
        "keys": [{"name": "a", "publicKey": "x"}],
        "authorities": ["y"],
        "identities": [{"name": "b", "subject": "s"}],
    }
    with pytest.raises(InvalidError) as refused:
        OfflineSignatures().check_trust(TrustSpec.model_validate(spec))
    assert refused.value.code == "invalid-trust"
    assert [e.pointer for e in refused.value.errors] == ["/keys/0/publicKey", "/authorities/0"]
