"""What a tier gives its tenants (`PUT /v1/tiers/{name}`), and what a cluster adds (`PUT /v1/clusters/{name}`)."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from controlplane.domain.names import Name
from controlplane.domain.quantities import Duration, parse_quantity
from controlplane.domain.quota import LimitDefaults
from controlplane.domain.resources import Resources, parse_resources
from controlplane.domain.tree import ValuesTree
from controlplane.domain.wire import Wire

Policy = Literal["repair", "report"]
WALLS: Final = "walls"
"""The part that the Namespace and the wall objects are; every other part is an app."""
_RESOURCE = re.compile(
    r"^(cpu|memory|pods|services|secrets|configmaps|persistentvolumeclaims|resourcequotas|replicationcontrollers"
    r"|services\.(nodeports|loadbalancers)|(requests|limits)\.[a-z0-9./-]{1,80}|count/[a-z0-9.-]{1,80})$"
)
FORBIDDEN_BY_DEFAULT = {"services.nodeports": "0", "services.loadbalancers": "0"}
"""Ways around a tenant's ingress: a tier opens them by naming a number."""


def _quantity(value: object) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool) and parse_quantity(value) >= 0:
        return str(value)
    raise ValueError("a quantity is a string such as 250m or 1.5Gi, or a whole number, and not negative")


def _resource(name: str) -> str:
    if not _RESOURCE.match(name):
        raise ValueError(f"{name!r} is not a resource that a ResourceQuota counts, such as requests.cpu or pods")
    return name


def _cidr(text: str) -> str:
    ipaddress.ip_network(text)
    return text


Quantity = Annotated[str, BeforeValidator(_quantity)]
ResourceName = Annotated[str, AfterValidator(_resource)]
Cidr = Annotated[str, AfterValidator(_cidr)]


class ContainerAmounts(Wire):
    """CPU and memory of one container."""

    cpu: Quantity
    memory: Quantity


class ContainerLimits(Wire):
    """The LimitRange: what a container gets that asks for nothing, and the most one may ask for."""

    default: ContainerAmounts = ContainerAmounts(cpu="500m", memory="512Mi")
    default_request: ContainerAmounts = ContainerAmounts(cpu="50m", memory="64Mi")
    max: ContainerAmounts | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for resource in ("cpu", "memory"):
            request, limit = (parse_quantity(getattr(a, resource)) for a in (self.default_request, self.default))
            if request > limit:
                raise ValueError(f"defaultRequest.{resource} is above default.{resource}; no pod could start")
            if self.max and limit > parse_quantity(getattr(self.max, resource)):
                raise ValueError(f"default.{resource} is above max.{resource}; no pod could start")
        return self


class SelfService(Wire):
    """What a tenant owner may do alone: put off a change by `defer` at most, and go back so many times a day."""

    defer: Duration = timedelta(days=3)
    rollbacks_per_day: int = Field(default=1, ge=0, le=100)


class DriftPolicy(Wire):
    """What happens when somebody else changes what Seawall wrote: `repair` writes it again, `report` only tells."""

    walls: Policy = "repair"
    apps: Policy = "report"

    def of(self, part: str) -> Policy:
        """The policy of a part: `walls`, or an app."""
        return self.walls if part == WALLS else self.apps


class TierSpec(Wire):
    """A tier: quota and isolation class. `quota` is a ResourceQuota's `hard`; `values` are the tier's layer of values."""

    description: Annotated[str, Field(max_length=500)] = ""
    isolation: Literal["shared", "dedicated"] = "shared"
    quota: dict[ResourceName, Quantity] = Field(
        default_factory=lambda: {"requests.cpu": "2", "requests.memory": "4Gi", "pods": "20"}, min_length=1
    )
    limits: ContainerLimits = ContainerLimits()
    values: dict[Name, ValuesTree] = Field(default_factory=dict, description="Values by app.")
    priority: int | None = Field(
        default=None, ge=0, le=1_000_000, description="Place of its pods in the scheduler's queue: a PriorityClass."
    )
    egress: tuple[Cidr, ...] = ()
    self_service: SelfService = SelfService()
    drift: DriftPolicy = DriftPolicy()
    rpo: Duration | None = Field(
        default=None, description="So much of the newest data a tenant may lose at most; the backup gate asks for it."
    )

    def hard(self) -> dict[str, str]:
        """The quota as written to the cluster."""
        return {**FORBIDDEN_BY_DEFAULT, **self.quota}

    def resources(self) -> Resources:
        """The quota in base units."""
        return parse_resources(self.hard())

    def limit_defaults(self) -> LimitDefaults:
        """What a container that asks for nothing counts with."""
        own = self.limits
        return LimitDefaults(own.default_request.model_dump(), own.default.model_dump())

    def layer(self, app: str) -> dict[str, Any]:
        """The tier's values for an app."""
        return self.values.get(app, {})


class ClusterSpec(Wire):
    """A cluster as the registry knows it; how to reach it is a matter of each process's own configuration.

    `ingress_namespaces`: whose pods may reach tenants' pods. `egress`: networks every tenant there may reach, such as the
    database's subnet. `values`: the cluster's layer of values, by app.
    """

    description: Annotated[str, Field(max_length=500)] = ""
    region: Name | None = None
    ingress_namespaces: tuple[Name, ...] = ("traefik",)
    egress: tuple[Cidr, ...] = ()
    values: dict[Name, ValuesTree] = Field(default_factory=dict)
    dedicated_to: Name | None = Field(default=None, description="The one tenant that may be placed here.")
    upgrade: Literal["detect", "now", "ignore"] = Field(
        default="detect",
        description="Waves hold on a cluster under upgrade: by its nodes (detect), because somebody says so (now), or never.",
    )

    def layer(self, app: str) -> dict[str, Any]:
        """The cluster's values for an app."""
        return self.values.get(app, {})
