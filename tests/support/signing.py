"""Keys, authorities and signed attestations as CI would make them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]  # its package has no __all__

type Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

WORKFLOW = "https://github.com/acme/odoo/.github/workflows/release.yml@refs/heads/main"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key as cosign makes one."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: Private) -> str:
    """Its public half."""
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form).decode()


def statement(digests: Sequence[str], predicate: dict[str, Any], predicate_type: str) -> dict[str, Any]:
    """An in-toto Statement about these digests."""
    subjects = [{"name": digest[:14], "digest": {"sha256": digest.removeprefix("sha256:")}} for digest in digests]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def sign(key: Private, body: dict[str, Any], keyid: str = "") -> dict[str, Any]:
    """A DSSE envelope around a statement. cosign leaves `keyid` empty."""
    envelope = Envelope(json.dumps(body).encode(), "application/vnd.in-toto+json", {})
    envelope.sign(CryptoSigner(key, SSlibKey.from_crypto(key.public_key())))
    written = envelope.to_dict()
    return {**written, "signatures": [{"keyid": keyid, "sig": s["sig"]} for s in written["signatures"]]}


def tampered(envelope: dict[str, Any]) -> dict[str, Any]:
    """The same signatures over another payload."""
    body = json.loads(base64.b64decode(envelope["payload"]))
    body["predicate"]["results"] = {"critical": 0, "forged": True}
    return {**envelope, "payload": base64.b64encode(json.dumps(body).encode()).decode()}


class Authority:
    """A certificate authority for signers, as Fulcio is one."""

    def __init__(self, name: str = "acme root") -> None:
        self.key = new_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        builder = _builder(self.name, self.name, self.key, now - timedelta(days=1), now + timedelta(days=365))
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(usage, critical=True)
        ski = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        self.certificate = builder.add_extension(ski, critical=False).sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        """Its certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def vouch(
        self,
        key: ec.EllipticCurvePrivateKey,
        subject: str = WORKFLOW,
        *,
        since: datetime | None = None,
        life: timedelta = timedelta(minutes=10),
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
    ) -> str:
        """A certificate made out to a workflow, short-lived."""
        start = since or datetime.now(UTC) - timedelta(minutes=1)
        builder = _builder(x509.Name([]), self.name, key, start, start + life)
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject)])
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(san, critical=True).add_extension(aki, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        made = builder.sign(self.key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return made.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
