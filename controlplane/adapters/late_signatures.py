"""Signatures whose libraries are loaded when the first one is checked: they take 12 MB, and most workers never check any."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from controlplane.domain.evidence import Envelope
from controlplane.domain.trust import TrustSpec
from controlplane.ports.signatures import Checked, Signatures


class LateSignatures:
    """See `controlplane.ports.signatures.Signatures`."""

    @cached_property
    def _libraries(self) -> Signatures:
        from .signatures import OfflineSignatures

        return OfflineSignatures()

    def check(self, envelope: Envelope, certificates: Sequence[str], trust: TrustSpec, at: datetime) -> Checked:
        """Check against keys, then against the certificate if one came with it."""
        return self._libraries.check(envelope, certificates, trust, at)

    def check_trust(self, trust: TrustSpec) -> None:
        """Read everything once."""
        self._libraries.check_trust(trust)
