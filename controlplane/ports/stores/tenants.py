"""The registry of tenants: rows of tenants, environments and apps, many at a time."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from controlplane.domain.tenants import TenantPhase, TenantSpec
from controlplane.domain.tiers import ClusterSpec, TierSpec


@dataclass(frozen=True)
class EnvironmentRecord:
    """One environment as the registry has it. `slot_id`: the rollout or operation that changes it now."""

    tenant: str
    environment: str
    cluster: str
    namespace: str
    hosts: tuple[str, ...] = ()
    uid: str | None = None
    epoch: int = 0
    slot_kind: str | None = None
    slot_id: uuid.UUID | None = None
    slot_since: datetime | None = None
    dirty: bool = False
    walls: Mapping[str, Any] = field(default_factory=dict)
    drift: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TenantRecord:
    """One tenant. `spec` is what was asked for and patched since; `generation` rises with each change of it."""

    spec: TenantSpec
    phase: TenantPhase
    phase_reason: str
    generation: int
    created_at: datetime
    updated_at: datetime
    environments: tuple[EnvironmentRecord, ...] = ()

    @property
    def name(self) -> str:
        """The tenant's name."""
        return self.spec.name


@dataclass(frozen=True, slots=True)
class AppRecord:
    """An app of an environment. `content` is the current revision's body (zlib-compressed JSON of `Rendered`), if asked for."""

    tenant: str
    environment: str
    app: str
    values: Mapping[str, Any]
    values_version: int
    revision: int
    verified_revision: int | None
    deferred_until: datetime | None
    release_version: str | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class ReleaseChoice:
    """A release that could be installed. `artifact` is the digest of its bytes."""

    app: str
    version: str
    created_at: datetime
    proven: bool
    held: bool


@dataclass(frozen=True, slots=True)
class TenantEvent:
    """One entry of a tenant's history."""

    tenant: str
    change: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """Where an environment lives, and when its health was last written."""

    tenant: str
    environment: str
    cluster: str
    namespace: str
    installed: bool


@dataclass(frozen=True, slots=True)
class GivenRow:
    """What an app's current revision put into a namespace: (kind, name) of each object. `app` is empty where there is none."""

    namespace: str
    app: str
    objects: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SeenRow:
    """What was seen of an environment."""

    tenant: str
    environment: str
    health: str
    reason: str
    quota: Mapping[str, Mapping[str, str]]


class TenantStore(Protocol):
    """Tenants in PostgreSQL. Each call is a fixed number of statements."""

    async def get(self, name: str, *, lock: bool = False) -> TenantRecord | None:
        """Read a tenant with its environments; `lock` holds its row until the transaction ends."""
        ...

    async def many(self, names: Collection[str]) -> list[TenantRecord]:
        """Read these tenants; a name that is not there is left out."""
        ...

    async def page(self, after: str, limit: int) -> list[TenantRecord]:
        """List tenants by name, from after a name."""
        ...

    async def add(self, specs: Sequence[TenantSpec]) -> set[str]:
        """Insert tenants (phase onboarding) with environments and apps; returns the names that were free. Others are left as they are."""
        ...

    async def add_environments(self, spec: TenantSpec, names: Collection[str]) -> None:
        """Insert environments of a tenant that exists, with its apps."""
        ...

    async def add_apps(self, spec: TenantSpec) -> None:
        """Insert the rows of apps that a tenant's environments do not have yet."""
        ...

    async def remove_apps(self, tenant: str, apps: Collection[str]) -> set[str]:
        """Delete app rows that never had a revision; returns the apps that have one and stay."""
        ...

    async def taken_hosts(self, hosts: Collection[str]) -> dict[str, str]:
        """Which of these host names belong to which living tenant. Holds off others who ask, until the transaction ends."""
        ...

    async def taken_namespaces(self, places: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Which of these (cluster, namespace) are an environment's already."""
        ...

    async def save(self, spec: TenantSpec) -> None:
        """Write a changed spec: generation + 1, hosts of environments too."""
        ...

    async def set_phase(self, names: Collection[str], phase: TenantPhase, reason: str = "") -> None:
        """Write a phase. Raises `LookupError` if a row is missing."""
        ...

    async def tiers(self) -> dict[str, TierSpec]:
        """All tiers in force."""
        ...

    async def clusters(self) -> dict[str, ClusterSpec]:
        """All clusters in force."""
        ...

    async def config(self, kind: str) -> dict[str, dict[str, Any]]:
        """All configuration objects of a kind in force, as stored."""
        ...

    async def apps(self, tenant: str, *, contents: bool = False) -> list[AppRecord]:
        """The apps of all environments of a tenant."""
        ...

    async def set_values(self, tenant: str, environment: str, app: str, values: Mapping[str, Any]) -> int:
        """Replace the environment layer of an app's values; returns its new version."""
        ...

    async def releases(self, apps: Collection[str]) -> list[ReleaseChoice]:
        """All releases of these apps, newest first."""
        ...

    async def places(self) -> list[PlaceRow]:
        """Every environment of a living tenant."""
        ...

    async def at(self, cluster: str, namespace: str) -> str | None:
        """The tenant whose environment this namespace is."""
        ...

    async def placed_on(self) -> list[str]:
        """Clusters that any environment is placed on."""
        ...

    async def given(self, cluster: str, after: tuple[str, str], limit: int) -> Sequence[GivenRow]:
        """What active environments on a cluster were given by app, of those that no change holds, by (namespace, app) behind `after`."""
        ...

    async def set_drift(self, tenant: str, environment: str, drift: Mapping[str, Any]) -> None:
        """Write what is known of an environment's drift."""
        ...

    async def seen(self, rows: Sequence[SeenRow]) -> bool:
        """Write what was seen, `health_at` now. False: another process is writing this moment; nothing was written."""
        ...

    async def record(self, events: Sequence[TenantEvent]) -> None:
        """Write history entries of many tenants at once, with their copies for the event feed."""
        ...

    async def installation(self) -> uuid.UUID:
        """The identity of this Seawall, made at the first call."""
        ...
