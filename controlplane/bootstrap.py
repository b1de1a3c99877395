"""The only place where adapters are chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from controlplane.adapters.anchor_blobs import AnchorBlobs
from controlplane.adapters.anchor_file import AnchorFile
from controlplane.adapters.anchors import together
from controlplane.adapters.blob import BlobContainer
from controlplane.adapters.cel import Cel
from controlplane.adapters.clusters import ClusterRegistry, read_clusters
from controlplane.adapters.endpoints import HttpEndpoints
from controlplane.adapters.engine_metrics import PrometheusMeters
from controlplane.adapters.folder import Folder
from controlplane.adapters.icalendars import ICalendars
from controlplane.adapters.identity.authenticator import Credentials
from controlplane.adapters.identity.workloads import read_workloads
from controlplane.adapters.late_signatures import LateSignatures
from controlplane.adapters.metric_sources import DEFAULT, read_sources
from controlplane.adapters.nats import NatsBus, NatsRole
from controlplane.adapters.nats.health import nats_part
from controlplane.adapters.postgres.asks import PostgresAsks
from controlplane.adapters.postgres.database import Database, Urls
from controlplane.adapters.postgres.engine.store import PostgresEngineStore
from controlplane.adapters.postgres.facts import PostgresFacts
from controlplane.adapters.postgres.gates import PostgresVotes
from controlplane.adapters.postgres.health import database_parts
from controlplane.adapters.postgres.timelines import PostgresTimelines, timeline_part
from controlplane.adapters.postgres.told import PostgresNotices
from controlplane.adapters.postgres.uow import PostgresUnitOfWork
from controlplane.adapters.postgres.workers import workers_part
from controlplane.adapters.prometheus import SKEW, Prometheus
from controlplane.adapters.secrets import LocalSecrets
from controlplane.domain.errors import DependencyError
from controlplane.domain.secret_refs import SecretRef
from controlplane.ports.anchors import Anchors
from controlplane.ports.blobs import Blobs
from controlplane.ports.bus import Bus
from controlplane.ports.clusters import Clusters
from controlplane.ports.engine import EngineStore
from controlplane.ports.expressions import Expressions
from controlplane.ports.gates import GatePorts
from controlplane.ports.health import Part
from controlplane.ports.identity import Authenticator
from controlplane.ports.meters import Meters
from controlplane.ports.secrets import Secrets
from controlplane.ports.signatures import Signatures
from controlplane.services.configuration.kinds import Checkers
from controlplane.services.events.process import EventTools
from controlplane.services.fleet import Fleet
from controlplane.services.jury import Jury
from controlplane.services.operations.installer import RolloutInstaller
from controlplane.services.operations.run import OperationTools
from controlplane.services.rollouts.tools import RolloutTools
from controlplane.services.timelines import Timelines
from controlplane.settings import Settings

if TYPE_CHECKING:
    from controlplane.adapters.identity.oidc import OidcTokens


def utc_now() -> datetime:
    """Read the clock of this machine. What is stored carries the database's (`UnitOfWork.now`)."""
    return datetime.now(UTC)


class Container:
    """The parts of one process, made at first use from its settings. A new part is one `cached_property`, closed in `close`."""

    def __init__(self, settings: Settings, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.settings = settings
        self.clock = clock
        self.draining = asyncio.Event()

    async def parts(self) -> list[Part]:
        """How the parts are that this process stands on."""
        if self.draining.is_set():
            return [Part(name="process", state="away", detail="It is draining and takes no new work.")]
        required = self.settings.require_synchronous_standby
        role = "platform" if self.settings.database_url_platform else "engine"
        parts = await database_parts(self.database.pool(role), standby_required=required)
        if self.settings.nats_url:
            parts.append(await nats_part(self.settings.nats_url))
        if role == "platform" and parts[0].state == "ok":
            parts.append(await workers_part(self.database.pool(role)))
            parts.append(await timeline_part(self.database.pool(role)))
        return parts

    @cached_property
    def database(self) -> Database:
        """PostgreSQL, as the roles this process has addresses for."""
        settings = self.settings
        return Database(
            Urls(
                platform=settings.database_url_platform,
                tenant=settings.database_url_tenant,
                engine=settings.database_url_engine,
            )
        )

    @cached_property
    def engine_store(self) -> EngineStore:
        """What drivers of rollouts read and write."""
        return PostgresEngineStore(self.database, self.meters, self.calendars)

    @cached_property
    def timelines(self) -> Timelines:
        """Compares clusters with the registry after a failover."""
        return Timelines(PostgresTimelines(self.database), self.meters)

    @cached_property
    def meters(self) -> Meters:
        """What the engine counts, for /metrics."""
        return PrometheusMeters()

    @cached_property
    def gate_ports(self) -> GatePorts:
        """What gates may ask: votes on record, and the metric sources that are configured."""
        sources = self.metric_sources
        return GatePorts(
            votes=PostgresVotes(self.database),
            metrics=sources.get(DEFAULT),
            sources=sources,
            clusters=self.clusters,
            endpoints=HttpEndpoints(self.database, self.secrets),
            asks=PostgresAsks(self.database, self.settings.public_url),
            facts=PostgresFacts(self.database.engine),
            signatures=self.signatures,
            expressions=self.expressions,
            times=self.calendars,
            notices=PostgresNotices(self.database),
            blames=Jury(self.database, self.calendars),
        )

    @cached_property
    def metric_sources(self) -> dict[str, Prometheus]:
        """Prometheus APIs by name; `default` is the one that SEAWALL_METRICS_SOURCE names, unless the file has its own."""
        settings = self.settings
        plain = {DEFAULT: Prometheus(settings.metrics_source, skew=SKEW)} if settings.metrics_source else {}
        listed = read_sources(settings.metrics_sources, self.secrets) if settings.metrics_sources else {}
        return plain | listed

    @cached_property
    def anchors(self) -> Anchors | None:
        """Where heads of the audit chain are kept outside; None: in the log alone."""
        path, container = self.settings.audit_anchors, self.anchor_container
        return together([*([AnchorFile(path)] if path else []), *([container] if container else [])])

    @cached_property
    def anchor_container(self) -> AnchorBlobs | None:
        """The container of Azure Blob Storage among those places."""
        settings = self.settings
        if not settings.audit_anchors_container:
            return None
        sas = SecretRef(file=settings.audit_anchors_sas) if settings.audit_anchors_sas else None
        return AnchorBlobs(settings.audit_anchors_container, self.secrets, sas, ca=settings.audit_anchors_ca)

    @cached_property
    def blobs(self) -> Sequence[Blobs]:
        """The places where break-glass files are kept; none: nowhere."""
        path = self.settings.breakglass
        return [*([Folder(path)] if path else []), *self.blob_containers]

    @cached_property
    def blob_containers(self) -> Sequence[BlobContainer]:
        """Those that are containers of Azure Blob Storage."""
        settings = self.settings
        if not settings.breakglass_container:
            return []
        sas = SecretRef(file=settings.breakglass_sas) if settings.breakglass_sas else None
        return [BlobContainer(settings.breakglass_container, self.secrets, sas, ca=settings.breakglass_ca)]

    @cached_property
    def signatures(self) -> Signatures:
        """What checks signed attestations."""
        return LateSignatures()

    @cached_property
    def authenticator(self) -> Authenticator:
        """Checks API keys and tokens."""
        return Credentials(self.database, self.tokens)

    @cached_property
    def tokens(self) -> OidcTokens | None:
        """Checks OpenID Connect tokens, where an issuer or a workload rule is configured."""
        settings = self.settings
        workloads = read_workloads(settings.workloads) if settings.workloads else []
        if not settings.oidc_issuer and not workloads:
            return None
        from controlplane.adapters.identity.oidc import OidcTokens  # 6 MB that workers have no use for

        return OidcTokens(settings.oidc_issuer, settings.oidc_audience, workloads=workloads, now=self.clock)

    @cached_property
    def checkers(self) -> Checkers:
        """What reads the expressions and calendars that people write."""
        return Checkers(expressions=Cel(), calendars=self.calendars, signatures=self.signatures)

    @cached_property
    def calendars(self) -> ICalendars:
        """Works calendars out, and keeps what it worked out."""
        return ICalendars()

    @cached_property
    def clusters(self) -> Clusters:
        """The clusters that this process may dispatch to; none without a file that names them."""
        path = self.settings.clusters
        return ClusterRegistry(read_clusters(path) if path else {})

    def cluster_names(self) -> list[str]:
        """The clusters that the file names."""
        return sorted(read_clusters(self.settings.clusters)) if self.settings.clusters else []

    @cached_property
    def rollout_tools(self) -> RolloutTools:
        """What rollouts are planned and started with, as the API's fleet roles."""
        return self._tools(self.database.platform)

    def _tools(self, open_: Callable[[], AbstractAsyncContextManager[PostgresUnitOfWork]]) -> RolloutTools:
        """What rollouts are planned with, as one database role."""
        asks = GatePorts(
            votes=PostgresVotes(self.database),
            facts=PostgresFacts(open_),
            signatures=self.signatures,
            times=self.calendars,
        )
        return RolloutTools(
            open=open_,
            clusters=self.clusters,
            expressions=self.expressions,
            gate_ports=asks,
            times=self.calendars,
            expander=self.calendars,
        )

    @cached_property
    def expressions(self) -> Expressions:
        """CEL."""
        return Cel()

    @cached_property
    def secrets(self) -> Secrets:
        """Secrets that configuration names."""
        return LocalSecrets(self.settings.secrets)

    def bus(self, role: NatsRole) -> Bus:
        """A connection to NATS under a role's rights; the caller closes it. Raises DependencyError if there is no address."""
        settings = self.settings
        if not settings.nats_url:
            raise DependencyError(
                "This process has no address of NATS: set SEAWALL_NATS_URL.", code="nats-not-configured"
            )
        return NatsBus(settings.nats_url, role, seed=settings.nats_credentials, replicas=settings.nats_replicas)

    def operation_tools(self, fleet: Fleet) -> OperationTools:
        """What a worker drives operations with, as the engine's role."""
        installs = self._tools(self.database.engine)
        return OperationTools(self.database, fleet, RolloutInstaller(installs))

    @cached_property
    def event_tools(self) -> EventTools:
        """What a worker turns events into rollouts with, as the engine's role."""
        return EventTools(self._tools(self.database.engine), self.expressions)

    async def close(self) -> None:
        """Give connections back."""
        if "clusters" in self.__dict__:
            await self.clusters.close()
        if (tokens := self.__dict__.get("tokens")) is not None:
            await tokens.close()
        for source in self.__dict__.get("metric_sources", {}).values():
            await source.close()
        for container in self.__dict__.get("blob_containers", ()):
            await container.close()
        if (heads := self.__dict__.get("anchor_container")) is not None:
            await heads.close()
        await self.database.close()
