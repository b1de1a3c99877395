"""An app as the registry knows it (`PUT /v1/apps/{name}`): what all its releases share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from controlplane.domain.channels import Channel
from controlplane.domain.names import Name
from controlplane.domain.releases import FormatName
from controlplane.domain.tree import PlainText, ValuesTree
from controlplane.domain.wire import Wire
from controlplane.domain.work import DeliveryKind

CustomKind = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[A-Z][A-Za-z0-9]{0,62}$")]
FieldPointer = Annotated[str, StringConstraints(pattern=r"^(/[^/\x00-\x1f]{1,120}){1,20}$")]


class SharedField(Wire):
    """A field that another controller owns, such as replicas under an autoscaler; it is never applied."""

    kind: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]{0,62}$")] = Field(examples=["Deployment"])
    pointer: FieldPointer = Field(examples=["/spec/replicas"])


class Dependency(Wire):
    """A workload of the same cluster that tenants' apps lean on. While one that is not `critical` is ill, a tenant that falls ill is
    not blamed on its release; a critical one excuses nothing, because a release may have broken it.
    """

    name: Name
    namespace: Name
    kind: Literal["Deployment", "StatefulSet", "DaemonSet"] = "Deployment"
    workload: Name = Field(description="Its name in that namespace.")
    critical: bool = False


class AppSpec(Wire):
    """The body of `PUT /v1/apps/{name}`."""

    description: PlainText = ""
    delivery: DeliveryKind = Field(
        default="apply", description="How its releases reach a cluster. `apply`: Seawall writes the objects itself."
    )
    format: FormatName = Field(default="helm", description="What its releases usually are.")
    shared_fields: tuple[SharedField, ...] = Field(default=(), max_length=50)
    custom_kinds: tuple[CustomKind, ...] = Field(
        default=(), max_length=50, description="Custom resources its releases may hold, as group/Kind."
    )
    dependencies: tuple[Dependency, ...] = Field(
        default=(), max_length=20, description="What its tenants lean on besides their own namespace."
    )
    sample_values: ValuesTree = Field(
        default_factory=dict, description="Values a release is rendered with when it is registered."
    )
    channels: dict[Name, Channel] = Field(
        default_factory=dict,
        max_length=50,
        description="Which releases belong to a channel; one that is not named has all, `stable` no pre-releases.",
    )
