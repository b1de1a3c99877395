"""The shape of Kubernetes objects, as far as Seawall reads them.

The API server checks the rest; this keeps a chart that writes a text where a list belongs from being anything but the
chart's mistake, told with object and path.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from controlplane.domain.errors import FieldError
from controlplane.domain.quantities import parse_quantity
from controlplane.domain.wire import field_errors

MAX_LEVELS = 100
"""How deep a JSON value may be nested."""

ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$", max_length=253)]


def _quantity(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("a quantity is a number or a text such as 250m or 1Gi")  # noqa: TRY004 - pydantic wants it
    parse_quantity(str(value))
    return value


Quantity = Annotated[Any, BeforeValidator(_quantity)]
Amounts = dict[str, Quantity]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Marks(_Open):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Metadata(_Marks):
    name: ObjectName
    namespace: ObjectName | None = None


class _Asked(_Open):
    requests: Amounts = {}
    limits: Amounts = {}


class _Security(_Open):
    capabilities: dict[str, list[str]] = {}
    seccompProfile: dict[str, Any] = {}  # noqa: N815 - Kubernetes' own field names, here and below
    appArmorProfile: dict[str, Any] = {}  # noqa: N815


class _Container(_Open):
    name: str
    image: str | None = None
    resources: _Asked = _Asked()
    securityContext: _Security = _Security()  # noqa: N815
    ports: list[dict[str, Any]] = []
    env: list[dict[str, Any]] = []
    restartPolicy: str | None = None  # noqa: N815


class _PodSpec(_Open):
    containers: Annotated[list[_Container], Field(min_length=1)]
    initContainers: list[_Container] = []  # noqa: N815
    ephemeralContainers: list[_Container] = []  # noqa: N815
    volumes: list[dict[str, Any]] = []
    securityContext: _Security = _Security()  # noqa: N815
    overhead: Amounts = {}
    serviceAccountName: str | None = None  # noqa: N815


class _Template(_Open):
    metadata: _Marks = _Marks()
    spec: _PodSpec


class _Rolling(_Open):
    maxSurge: Annotated[int, Field(ge=0)] | Annotated[str, StringConstraints(pattern=r"^\d+%$")] = "25%"  # noqa: N815


class _Strategy(_Open):
    type: str | None = None
    rollingUpdate: _Rolling = _Rolling()  # noqa: N815


class _Claim(_Open):
    resources: _Asked = _Asked()


class _ClaimTemplate(_Open):
    spec: _Claim = _Claim()


class _Workload(_Open):
    template: _Template
    replicas: Annotated[int, Field(ge=0)] = 1
    parallelism: Annotated[int, Field(ge=0)] = 1
    strategy: _Strategy = _Strategy()
    volumeClaimTemplates: list[_ClaimTemplate] = []  # noqa: N815


class _JobTemplate(_Open):
    spec: _Workload


class _Cron(_Open):
    jobTemplate: _JobTemplate  # noqa: N815


class _Scaler(_Open):
    scaleTargetRef: dict[str, str] = {}  # noqa: N815
    maxReplicas: int = 1  # noqa: N815
    maxReplicaCount: int = 100  # noqa: N815


class _Object(_Open):
    apiVersion: Annotated[str, StringConstraints(min_length=1)]  # noqa: N815
    kind: Annotated[str, StringConstraints(min_length=1)]
    metadata: _Metadata


class _WithWorkload(_Object):
    spec: _Workload


class _WithCron(_Object):
    spec: _Cron


class _WithScaler(_Object):
    spec: _Scaler


class _WithClaim(_Object):
    spec: _Claim


class _WithSpec(_Object):
    spec: dict[str, Any] = {}


class _HostRule(_Open):
    host: str | None = None


class _Rules(_Open):
    rules: list[_HostRule] = []


class _WithRules(_Object):
    spec: _Rules = _Rules()


class _Rule(_Open):
    apiGroups: list[str] = []  # noqa: N815
    resources: list[str] = []
    verbs: list[str] = []


class _Role(_Object):
    rules: list[_Rule] = []


class _Binding(_Object):
    roleRef: dict[str, str]  # noqa: N815
    subjects: list[dict[str, str]] = []


_SHAPES: dict[str, type[_Object]] = {
    "Deployment": _WithWorkload,
    "StatefulSet": _WithWorkload,
    "DaemonSet": _WithWorkload,
    "ReplicaSet": _WithWorkload,
    "Job": _WithWorkload,
    "CronJob": _WithCron,
    "HorizontalPodAutoscaler": _WithScaler,
    "ScaledObject": _WithScaler,
    "PersistentVolumeClaim": _WithClaim,
    "Service": _WithSpec,
    "Ingress": _WithRules,
    "Role": _Role,
    "RoleBinding": _Binding,
    "ClusterRole": _Object,
}


def shape_errors(document: dict[str, Any]) -> tuple[FieldError, ...]:
    """What in an object has not the shape its kind needs; empty when all is well."""
    shape = _SHAPES.get(str(document.get("kind")), _Object)
    try:
        shape.model_validate(document)
    except ValidationError as error:
        return field_errors(error)
    return ()


def without_nulls(value: Any, levels: int = MAX_LEVELS) -> Any:
    """The same JSON without members that are null, which Kubernetes takes as absent.

    Raises ValueError where it is nested deeper than any real object, before that breaks something else.
    """
    if levels == 0:
        raise ValueError(f"it is nested more than {MAX_LEVELS} levels deep")
    if isinstance(value, dict):
        return {key: without_nulls(child, levels - 1) for key, child in value.items() if child is not None}
    return [without_nulls(child, levels - 1) for child in value] if isinstance(value, list) else value
