"""Checking signed attestations without asking anybody outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from controlplane.domain.evidence import Envelope
from controlplane.domain.trust import TrustSpec


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check. `valid`: `signers` of the trust signed exactly these bytes, and `statement` is what they say.

    `invalid`: none did (tampered, another key, another identity); `expired`: the right one, outside its time.
    """

    outcome: Literal["valid", "invalid", "expired"]
    reason: str
    signers: tuple[str, ...] = ()
    statement: Mapping[str, Any] = field(default_factory=dict)


class Signatures(Protocol):
    """A verifier."""

    def check(self, envelope: Envelope, certificates: Sequence[str], trust: TrustSpec, at: datetime) -> Checked:
        """Check an envelope that was received `at`; never raises for what others wrote into it."""
        ...

    def check_trust(self, trust: TrustSpec) -> None:
        """Read the keys and certificates; raises InvalidError `invalid-trust` with a pointer for each that can't be read."""
        ...
