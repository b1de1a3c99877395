"""What a process is told from outside: environment variables `SEAWALL_*`."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from controlplane.domain.plans import PLAN_SCHEMA_VERSION
from controlplane.domain.quantities import Duration


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


class Settings(BaseSettings):
    """Addresses and limits. Nothing here has a default that reaches beyond this machine."""

    model_config = SettingsConfigDict(env_prefix="SEAWALL_", extra="ignore")

    database_url: str = Field(
        default="", description="PostgreSQL as the schema's owner; only `seawall migrate` uses it."
    )
    database_url_platform: str = Field(default="", description="PostgreSQL as sw_platform: the API.")
    database_url_tenant: str = Field(default="", description="PostgreSQL as sw_tenant: the API for tenant owners.")
    database_url_engine: str = Field(default="", description="PostgreSQL as sw_engine: workers and relay.")
    nats_url: str = Field(default="", description="nats:// address of JetStream.")
    nats_credentials: Path | None = Field(default=None, description="File with this role's nkey seed.")
    nats_replicas: int = Field(default=1, ge=1, le=5, description="Copies of each stream: 3 on a JetStream cluster.")
    secrets: Path | None = Field(
        default=None, description="Folder of files that hold secrets of sources and webhooks, one per file."
    )
    clusters: Path | None = Field(default=None, description="YAML file: cluster name -> how to reach it.")
    listen: str = Field(default="127.0.0.1:8080", description="Where the API listens.")
    public_url: str = Field(default="", description="The API's address as clients see it; used in links.")
    oidc_issuer: str = Field(default="", description="OpenID Connect issuer whose tokens are accepted.")
    oidc_audience: str = Field(default="seawall", description="Audience that tokens must name.")
    workloads: Path | None = Field(
        default=None, description="YAML file: which CI runs (issuer, subject) may act for which apps."
    )
    fleet_name: str = Field(
        default="", description="Shown on every screen: SIMULATED, local kube-apiserver, or the cluster's name."
    )
    metrics_listen: str = Field(
        default="", description="Where a worker or the relay serves /metrics, /livez and /readyz; empty: nowhere."
    )
    metrics_source: str = Field(
        default="",
        description="Prometheus query API that metric gates (workers) and timelines (API) ask; empty: every metric gate says unknown.",
    )
    metrics_sources: Path | None = Field(
        default=None, description="YAML file: metric sources by name, with how to sign in at each."
    )
    otlp_endpoint: str = Field(
        default="", description="OTLP/HTTP collector for traces; empty: traces stay in the process."
    )
    log_format: str = Field(default="json", description="`json` or `console`.")
    require_synchronous_standby: bool = Field(
        default=False, description="Not ready unless PostgreSQL has a synchronous standby."
    )
    lease_seconds: float = Field(
        default=12.0,
        ge=2,
        le=300,
        description="How long a worker's lease on a rollout lasts: the time until another one takes over after it dies.",
    )
    audit_anchors: Path | None = Field(
        default=None,
        description="Append-only file for the heads of the audit chain, where the database's owner can't write.",
    )
    audit_anchors_container: str = Field(
        default="",
        description="The same in a container of Azure Blob Storage, besides or instead: https://ACCOUNT.blob.core.windows.net/CONTAINER.",
    )
    audit_anchors_sas: str = Field(
        default="",
        description="File in the folder SEAWALL_SECRETS with a shared access signature of that container (workers: racl, the API: rl); "
        "empty: the workload identity of this process.",
    )
    audit_anchors_ca: Path | None = Field(
        default=None, description="PEM file of certificates to trust at that container instead of the machine's."
    )
    audit_retention: Annotated[Duration | None, BeforeValidator(_none_if_empty)] = Field(
        default=None,
        description="How long audit rows are kept, such as P400D (30 days at least); empty: for ever. Needs SEAWALL_AUDIT_ANCHORS or its container.",
    )
    breakglass: Path | None = Field(
        default=None,
        description="Folder where workers keep what each tenant runs, for plain `kubectl apply` when Seawall is gone.",
    )
    breakglass_container: str = Field(
        default="",
        description="The same in a container of Azure Blob Storage, besides or instead: https://ACCOUNT.blob.core.windows.net/CONTAINER.",
    )
    breakglass_sas: str = Field(
        default="",
        description="File in the folder SEAWALL_SECRETS with a shared access signature of that container (rwdl); "
        "empty: the workload identity of this process.",
    )
    breakglass_ca: Path | None = Field(
        default=None, description="PEM file of certificates to trust at that container instead of the machine's."
    )
    plan_schema: int = Field(
        default=PLAN_SCHEMA_VERSION,
        ge=0,
        le=PLAN_SCHEMA_VERSION,
        description="The newest plans a worker takes; lower it to hold new workers back during an upgrade.",
    )

    @model_validator(mode="after")
    def _retention(self) -> Self:
        anchored = self.audit_anchors is not None or bool(self.audit_anchors_container)
        if self.audit_retention is not None and not anchored:
            raise ValueError(
                "SEAWALL_AUDIT_RETENTION needs SEAWALL_AUDIT_ANCHORS or SEAWALL_AUDIT_ANCHORS_CONTAINER: "
                "rows leave only behind an anchored checkpoint"
            )
        if self.audit_retention is not None and self.audit_retention < timedelta(days=30):
            raise ValueError("SEAWALL_AUDIT_RETENTION is at least P30D: the database refuses to remove younger rows")
        return self

    @field_validator("database_url", "database_url_platform", "database_url_tenant", "database_url_engine")
    @classmethod
    def _is_postgresql(cls, url: str) -> str:
        if url and not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("must be an address such as postgresql://user@host:5432/seawall")
        return url

    @field_validator("breakglass_container", "audit_anchors_container")
    @classmethod
    def _is_container(cls, url: str) -> str:
        if url and not re.fullmatch(r"https://[^\s@?#/]+(/[^\s@?#/]+)+", url):
            raise ValueError(
                "must be https://ACCOUNT.blob.core.windows.net/CONTAINER, without a signature or a user in it"
            )
        return url

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _is_host_and_port(cls, address: str) -> str:
        port = address.rpartition(":")[2]
        if address and not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
            raise ValueError("must be host:port, such as 127.0.0.1:8080")
        return address
