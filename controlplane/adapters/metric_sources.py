"""The file of metric sources (`SEAWALL_METRICS_SOURCES`): name -> Prometheus API, how to sign in there, whom to trust.

    default:
      url: https://prometheus.monitoring.svc:9090
      token: {file: prometheus-token}        # in the folder SEAWALL_SECRETS; read again for each query, so that a new one counts at once
      ca: /etc/seawall/ca/monitoring.pem
    azure:
      url: https://shops-ab12.francecentral.prometheus.monitor.azure.com
      entra: {}                              # this process's workload identity

The one named `default` is asked by gates that name none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from controlplane.adapters.identity.entra import EntraToken
from controlplane.adapters.prometheus import SKEW, TIMEOUT_SECONDS, Prometheus, Token
from controlplane.domain.errors import InvalidError, SeawallError
from controlplane.domain.names import Name
from controlplane.domain.secret_refs import SecretRef
from controlplane.domain.wire import Wire, field_errors
from controlplane.ports.gates import MetricsError
from controlplane.ports.secrets import Secrets

DEFAULT = "default"
AZURE_MONITOR_SCOPE = "https://prometheus.monitor.azure.com/.default"


class Entra(Wire):
    """Sign in with this process's workload identity (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE)."""

    scope: str = Field(
        default=AZURE_MONITOR_SCOPE, description="What to ask a token for; by default Azure Monitor workspaces."
    )
    ca: Path | None = Field(default=None, description="As for the source, but at the identity provider.")


class MetricSource(Wire):
    """One Prometheus API."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=2000)]
    token: SecretRef | None = Field(default=None, description="A bearer token.")
    entra: Entra | None = None
    ca: Path | None = Field(default=None, description="PEM file of certificates to trust instead of the machine's.")
    timeout: float = Field(default=TIMEOUT_SECONDS, gt=0, le=60, description="Seconds; a slower answer is none.")

    @model_validator(mode="after")
    def _one_way_in(self) -> MetricSource:
        if self.token and self.entra:
            raise ValueError("give token or entra, not both")
        if "@" in self.url.partition("//")[2].partition("/")[0]:
            raise ValueError("no user or password in the address: give a token")
        if (self.token or self.entra) and not self.url.startswith("https://"):
            raise ValueError("a token is only sent over https")
        return self


def read_sources(path: Path, secrets: Secrets) -> dict[str, Prometheus]:
    """Read the file; raises InvalidError `invalid-metric-sources` with a pointer for each thing wrong."""
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        listed: Mapping[str, MetricSource] = _SOURCES.validate_python(body)
    except (OSError, yaml.YAMLError) as error:
        raise InvalidError(
            f"The file of metric sources {path} can't be read: {error}", code="invalid-metric-sources"
        ) from error
    except ValidationError as error:
        found = field_errors(error)
        raise InvalidError(
            f"The file of metric sources {path} can't be used: {found[0].pointer}: {found[0].detail}",
            code="invalid-metric-sources",
            errors=found,
        ) from error
    return {
        name: Prometheus(one.url, _token(one, secrets), ca=one.ca, timeout=one.timeout, skew=SKEW)
        for name, one in listed.items()
    }


_SOURCES: TypeAdapter[dict[Name, MetricSource]] = TypeAdapter(dict[Name, MetricSource])


def _token(source: MetricSource, secrets: Secrets) -> Token | None:
    if source.entra is not None:
        return EntraToken(source.entra.scope, source.entra.ca)
    return SecretToken(secrets, source.token) if source.token else None


class SecretToken:
    """A token that lies somewhere as a secret."""

    def __init__(self, secrets: Secrets, ref: SecretRef) -> None:
        self._secrets = secrets
        self._ref = ref

    async def get(self) -> str:
        """Read it, each time."""
        try:
            return self._secrets.read(self._ref).decode("ascii")
        except (SeawallError, UnicodeDecodeError) as error:
            raise MetricsError(f"the token of the metric source can't be read from {self._ref}") from error

    async def close(self) -> None:
        """Nothing is open."""
