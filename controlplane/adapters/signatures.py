"""Signatures by maintained libraries: DSSE by `securesystemslib`, chains of certificates by `cryptography`. Nothing is fetched.

A signature is judged at the moment Seawall received it (its own clock and an immutable row stand in for a transparency log),
so that a short-lived certificate as cosign uses it stays good for what was registered while it was valid.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)
from securesystemslib.dsse import Envelope as Dsse
from securesystemslib.exceptions import Error as LibraryError
from securesystemslib.signer import Signature, SSlibKey  # type: ignore[attr-defined]  # its package has no __all__

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.evidence import Envelope, statement_of
from controlplane.domain.trust import TrustedKey, TrustSpec
from controlplane.ports.signatures import Checked


class OfflineSignatures:
    """See `controlplane.ports.signatures.Signatures`."""

    def check(self, envelope: Envelope, certificates: Sequence[str], trust: TrustSpec, at: datetime) -> Checked:
        """Check against keys, then against the certificate if one came with it."""
        signed = {key.name: key for key in trust.keys if _signed(envelope, _key(key))}
        good = tuple(name for name, key in signed.items() if _in_time(key, at))
        late = [name for name in signed if name not in good]
        by_certificate = _by_certificate(envelope, certificates, trust, at) if certificates else None
        if by_certificate is not None and by_certificate.outcome == "valid":
            good += by_certificate.signers
        if good:
            return Checked("valid", f"signed by {', '.join(good)}", good, statement_of(envelope))
        if late:
            return Checked("expired", f"key {late[0]} was not valid at {at:%Y-%m-%dT%H:%M:%SZ}")
        if by_certificate is not None:
            return by_certificate
        return Checked("invalid", "no trusted key made any of its signatures over these bytes")

    def check_trust(self, trust: TrustSpec) -> None:
        """Read everything once."""
        found = []
        for index, key in enumerate(trust.keys):
            try:
                _key(key)
            except (ValueError, UnsupportedAlgorithm, LibraryError) as error:
                found.append(FieldError(f"/keys/{index}/publicKey", f"can't be read: {str(error)[:200]}"))
        for index, pem in enumerate(trust.authorities):
            try:
                x509.load_pem_x509_certificate(pem.encode())
            except ValueError as error:
                found.append(FieldError(f"/authorities/{index}", f"is no PEM certificate: {str(error)[:200]}"))
        if found:
            raise InvalidError(
                f"{found[0].pointer} {found[0].detail}. Give PEM texts.", code="invalid-trust", errors=found
            )


def _key(key: TrustedKey) -> SSlibKey:
    loaded: Any = load_pem_public_key(key.public_key.encode())
    return SSlibKey.from_crypto(loaded, keyid=key.name, scheme=key.scheme)


def _in_time(key: TrustedKey, at: datetime) -> bool:
    return (key.not_before is None or key.not_before <= at) and (key.not_after is None or at <= key.not_after)


def _signed(envelope: Envelope, key: SSlibKey) -> bool:
    """Whether the key made one of the signatures. `keyid` is a hint only (cosign leaves it empty), so each is tried."""
    return any(_made(envelope, signature.sig, key) for signature in envelope.signatures)


def _made(envelope: Envelope, sig: str, key: SSlibKey) -> bool:
    try:
        raw = binascii.a2b_base64(sig, strict_mode=True)
        payload = binascii.a2b_base64(envelope.payload, strict_mode=True)
        dsse = Dsse(payload, envelope.payload_type, {key.keyid: Signature(key.keyid, raw.hex())})
        dsse.verify([key], 1)
    except (LibraryError, binascii.Error, ValueError):
        return False
    return True


def _by_certificate(envelope: Envelope, certificates: Sequence[str], trust: TrustSpec, at: datetime) -> Checked:
    """Whether the certificate's key signed, an authority vouches for it, and it is made out to a configured identity."""
    try:
        leaf, *between = (x509.load_pem_x509_certificate(pem.encode()) for pem in certificates)
        public: Any = leaf.public_key()
        key = SSlibKey.from_crypto(public, keyid="certificate")
        names = _subjects(leaf)
    except (ValueError, UnsupportedAlgorithm, LibraryError, x509.ExtensionNotFound) as error:
        return Checked("invalid", f"its certificate can't be used: {str(error)[:200]}")
    if not _signed(envelope, key):
        return Checked("invalid", "the certificate's key made none of its signatures over these bytes")
    if not trust.authorities:
        return Checked("invalid", "no authority is configured that could vouch for its certificate")
    moment = at.astimezone(UTC)
    if not leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc:
        return Checked("expired", f"its certificate was not valid at {moment:%Y-%m-%dT%H:%M:%SZ}")
    roots = [x509.load_pem_x509_certificate(pem.encode()) for pem in trust.authorities]
    try:
        _verifier(roots, moment).verify(leaf, between)
    except VerificationError as error:
        return Checked("invalid", f"no configured authority vouches for its certificate: {str(error)[:200]}")
    known = tuple(identity.name for identity in trust.identities if identity.subject in names)
    if not known:
        return Checked("invalid", f"it is signed by {', '.join(sorted(names))}, which no configured identity names")
    return Checked("valid", f"signed by {', '.join(known)}", known, statement_of(envelope))


def _verifier(roots: Sequence[x509.Certificate], at: datetime) -> Any:
    """Path validation of RFC 5280 for certificates that sign code; the end entity must say that it may."""
    leaf = (
        ExtensionPolicy.permit_all()
        .require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
        .require_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _signs_code)
    )
    builder = PolicyBuilder().store(Store(list(roots))).time(at)
    policies = {"ca_policy": ExtensionPolicy.webpki_defaults_ca(), "ee_policy": leaf}
    return builder.extension_policies(**policies).build_client_verifier()


def _signs_code(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage) -> None:
    if ExtendedKeyUsageOID.CODE_SIGNING not in usage:
        raise ValueError("the certificate is not for signing code")


def _subjects(certificate: x509.Certificate) -> frozenset[str]:
    """URIs and e-mail addresses that the certificate is made out to."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return frozenset((*uris, *names.get_values_for_type(x509.RFC822Name)))
