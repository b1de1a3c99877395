"""What gates and rules may know of the registry: releases and what was attested of them, what ran where, backups, configuration."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controlplane.domain.releases import ReleaseSpec
from controlplane.domain.requests import RolloutRequest
from controlplane.ports.stores.evidence import BackupRecord, EvidenceRecord


@dataclass(frozen=True, slots=True)
class TargetFact:
    """A target of a rollout as it was planned, with what selectors see of its tenant now."""

    tenant: str
    environment: str
    cluster: str
    namespace: str
    region: str
    tier: str
    labels: Mapping[str, str]
    release: str
    values_hash: str
    state: str
    uid: str
    epoch: int
    orders_per_hour: float = 0.0
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Ran:
    """How long a tenant's environment ran one revision, verified. `since`: uninterrupted from then; `until` None: it still does.

    `revision` 0 (and all else empty): the environment is there, and nothing was verified in it.
    """

    tenant: str
    revision: int = 0
    release: str = ""
    values_hash: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """One configuration object in force."""

    name: str
    version: int
    spec: Mapping[str, Any]


class Facts(Protocol):
    """Reads of the registry; each call is one statement, whatever the number of tenants."""

    async def release(self, app: str, version: str) -> ReleaseSpec | None:
        """A registered release."""
        ...

    async def proven(self, app: str, version: str) -> bool:
        """Whether a rollout of the release succeeded."""
        ...

    async def wish(self, rollout_id: uuid.UUID) -> RolloutRequest | None:
        """What was asked for when the rollout was started."""
        ...

    async def evidence(self, app: str, version: str) -> Sequence[EvidenceRecord]:
        """The newest attestation of each kind about a release (by `at`), and every one of kind `provenance` and `commit`."""
        ...

    async def targets(self, rollout_id: uuid.UUID, tenants: Collection[str]) -> Mapping[str, TargetFact]:
        """Targets of a rollout by tenant."""
        ...

    async def ran(self, app: str, environment: str, tenants: Collection[str] | None) -> Sequence[Ran]:
        """What ran, verified, in an environment of these tenants (None: of all active ones that have the app)."""
        ...

    async def values(self, hashes: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        """Effective values by (tenant, hash), as far as they are kept."""
        ...

    async def backups(self, environment: str, tenants: Collection[str]) -> Mapping[str, BackupRecord]:
        """The newest backup of each tenant that was checked and is not empty."""
        ...

    async def configured(self, kind: str) -> Sequence[Configured]:
        """Configuration of a kind in force, by name."""
        ...

    async def seen(self, rollout_id: uuid.UUID, wave: int, kind: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """The evidence that gates of a kind left before a wave (with an empty text) and before its single targets (with the tenant)."""
        ...
