"""A tenant as its onboarding body describes it, what may change, and the phases of its life."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, model_validator

from controlplane.domain.names import DOMAIN, Name, Version, namespace_name
from controlplane.domain.quantities import Money
from controlplane.domain.targets import Pin as PlannerPin
from controlplane.domain.tree import PlainText, ValuesTree
from controlplane.domain.wire import Wire

ENVIRONMENTS: Final = ("production", "staging")
EnvironmentName = Literal["production", "staging"]
Adopt = Literal["never", "if-identical", "observe"]
_RESERVED = re.compile(r"^(default$|kube-|seawall)")
_LABEL_KEY = re.compile(
    r"^(?:[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_HOST = re.compile(r"^(?=.{1,253}$)([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


def _tenant_name(name: str) -> str:
    if "--" in name:
        raise ValueError("a tenant's name can't hold two hyphens in a row: they separate it from its environment")
    if _RESERVED.match(name):
        raise ValueError("names that begin with kube- or seawall, and the name default, belong to the cluster")
    if len(namespace_name(name, "staging")) > 63:
        raise ValueError("a tenant's name has at most 54 characters, so that its staging namespace has at most 63")
    return name


def _time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone of the IANA database, such as Europe/Paris") from error
    return name


def _label_key(key: str) -> str:
    if len(key) > 317 or not _LABEL_KEY.match(key):
        raise ValueError(f"{key!r} is not a label key as Kubernetes takes it")
    prefix = key.partition("/")[0]
    if "/" in key and (prefix == DOMAIN or prefix.endswith("." + DOMAIN)):
        raise ValueError(f"labels under {DOMAIN}/ are set by Seawall alone")
    return key


def _host(name: str) -> str:
    if not _HOST.match(name):
        raise ValueError(f"{name!r} is not a DNS name such as shop.acme.example, in lower case and without a wildcard")
    return name


TenantName = Annotated[Name, AfterValidator(_tenant_name)]
"""A DNS-1123 label without `--`: it is also the name of the production namespace."""
TimeZone = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9+_/-]+$"), AfterValidator(_time_zone)]
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
Host = Annotated[str, AfterValidator(_host)]


class Exposure(Wire):
    """What an hour of trouble costs: orders per hour, and the value of one."""

    orders_per_hour: Annotated[int | float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0
    value_per_order: Money | None = None


class EnvironmentSpec(Wire):
    """Where an environment is placed, and the host names it serves."""

    cluster: Name
    hosts: tuple[Host, ...] = Field(default=(), max_length=50)


class EnvironmentSpecs(Wire):
    """A tenant's environments: production always, staging if wanted."""

    production: EnvironmentSpec
    staging: EnvironmentSpec | None = None

    def present(self) -> dict[EnvironmentName, EnvironmentSpec]:
        """Those that exist, by name."""
        both: dict[EnvironmentName, EnvironmentSpec] = {"production": self.production}
        return both if self.staging is None else {**both, "staging": self.staging}


class Pin(Wire):
    """The tenant stays on `version` (none: on what it runs) until `until`. Shows in every plan."""

    version: Version | None = None
    reason: Annotated[PlainText, Field(min_length=1)]
    owner: Annotated[PlainText, Field(min_length=1)]
    until: AwareDatetime

    def for_planner(self) -> PlannerPin:
        """The pin as the planner takes it."""
        return PlannerPin(reason=self.reason, owner=self.owner, until=self.until, version=self.version)

    def in_force(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.until > now


class AppChoice(Wire):
    """An app the tenant runs: the channel it follows, the tenant's layer of values, a pin if any."""

    channel: Name = "stable"
    values: ValuesTree = Field(default_factory=dict)
    pin: Pin | None = None


class TenantSpec(Wire):
    """The body of `POST /v1/tenants`, and what `PATCH` changes."""

    name: TenantName
    display_name: PlainText = ""
    tier: Name
    region: Name
    time_zone: TimeZone = "UTC"
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=64)
    exposure: Exposure = Exposure()
    environments: EnvironmentSpecs
    apps: dict[Name, AppChoice] = Field(default_factory=dict, max_length=50)
    adopt: Adopt = "never"

    @model_validator(mode="after")
    def _hosts_once(self) -> Self:
        seen: set[str] = set()
        for name, environment in self.environments.present().items():
            for host in environment.hosts:
                if host in seen:
                    raise ValueError(f"host {host} is named twice (second time in {name})")
                seen.add(host)
        return self

    def hosts(self) -> list[str]:
        """All host names of all environments."""
        return [host for spec in self.environments.present().values() for host in spec.hosts]


class TenantPhase(StrEnum):
    """Where a tenant stands. `observed`: its namespaces were only read."""

    ONBOARDING = "onboarding"
    OBSERVED = "observed"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    OFFBOARDING = "offboarding"
    OFFBOARDED = "offboarded"


_P = TenantPhase
PHASE_TRANSITIONS: Mapping[TenantPhase, frozenset[TenantPhase]] = {
    _P.ONBOARDING: frozenset({_P.ACTIVE, _P.OBSERVED, _P.OFFBOARDING}),
    # Adopting an observed namespace is onboarding it, with another `adopt`.
    _P.OBSERVED: frozenset({_P.ONBOARDING, _P.OFFBOARDING}),
    _P.ACTIVE: frozenset({_P.SUSPENDED, _P.OFFBOARDING}),
    _P.SUSPENDED: frozenset({_P.ACTIVE, _P.OFFBOARDING}),
    _P.OFFBOARDING: frozenset({_P.OFFBOARDED}),
    _P.OFFBOARDED: frozenset(),
}
