"""A probe: a Job in a tenant's own namespace that counts something and says the numbers. Pure: which object it is, what its answer says.

The container writes one JSON object of numbers to `/dev/termination-log`
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/), at most 4,096 bytes, and exits with 0. It runs as the app's
account, without a token, under Pod Security `restricted`, inside the tenant's quota and network policies: it reaches what the tenant's pods
reach, and nothing else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints

from controlplane.domain.manifests import Manifest, mark
from controlplane.domain.names import STEP_ANNOTATION, digest_of
from controlplane.domain.quantities import Duration
from controlplane.domain.releases import is_pinned
from controlplane.domain.walls_objects import APP_ACCOUNT
from controlplane.domain.wire import Wire

MAX_MESSAGE: Final = 4096
"""As the kubelet cuts a termination message."""
LEFT_SECONDS: Final = 60
"""What nobody removed (the fence refuses a worker that lost the tenant meanwhile) the cluster does; by then whoever took over has read it."""
JOB_LABEL: Final = "batch.kubernetes.io/job-name"
PROBE_APP: Final = "seawall-probe"

EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
SecretName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
AnnotationKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$")]
Argument = Annotated[str, Field(max_length=10_000)]
_RESULT = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$")


def _pinned(image: str) -> str:
    if not is_pinned(image):
        raise ValueError("an image is pinned by its digest: name@sha256:<64 hex digits>")
    return image


class SecretValue(Wire):
    """One key of a Secret of the tenant's namespace."""

    secret: SecretName
    key: Annotated[str, Field(min_length=1, max_length=253)]


class ProbeSpec(Wire):
    """What runs: `image` with `command`, its environment (values, and keys of the tenant's own Secrets), and how long it may take."""

    image: Annotated[str, AfterValidator(_pinned)]
    command: tuple[Argument, ...] = Field(min_length=1, max_length=50)
    env: dict[EnvName, Argument] = Field(default_factory=dict, max_length=50)
    secrets: dict[EnvName, SecretValue] = Field(default_factory=dict, max_length=20)
    annotations: dict[AnnotationKey, Argument] = Field(
        default_factory=dict, max_length=20, description="Of the pod, such as those that keep a sidecar out."
    )
    deadline: Duration = Field(
        default=timedelta(minutes=2), description="It is ended after so long, and counts as unknown."
    )
    cpu: Annotated[str, StringConstraints(pattern=r"^[0-9]+m?$")] = "100m"
    memory: Annotated[str, StringConstraints(pattern=r"^[0-9]+(Ki|Mi|Gi)$")] = "64Mi"


def probe_job(spec: ProbeSpec, name: str, step: str, tenant: str, environment: str, priority: str = "") -> Manifest:
    """The Job: one attempt, a deterministic name, so that a second worker finds it instead of starting another."""
    env: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in sorted(spec.env.items())]
    env += [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": one.secret, "key": one.key}}}
        for key, one in sorted(spec.secrets.items())
    ]
    amounts = {"cpu": spec.cpu, "memory": spec.memory}
    container = {
        "name": "probe",
        "image": spec.image,
        "command": list(spec.command),
        "env": env,
        "resources": {"requests": amounts, "limits": amounts},
        "terminationMessagePolicy": "File",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": APP_ACCOUNT,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    if priority:
        pod["priorityClassName"] = priority
    seconds = max(1, math.ceil(spec.deadline.total_seconds()))
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": LEFT_SECONDS,
            "template": {"metadata": {"annotations": dict(spec.annotations)}, "spec": pod},
        },
    }
    (marked,) = mark([job], tenant, environment, PROBE_APP)
    annotations = {**(marked["metadata"].get("annotations") or {}), STEP_ANNOTATION: step}
    return {**marked, "metadata": {**marked["metadata"], "annotations": annotations}}


def probe_name(label: str, step: str) -> str:
    """`probe-<label>-<step>`, at most 63 characters."""
    return f"probe-{label[: 55 - len(step)].rstrip('-')}-{step}"


def probe_step(*parts: object) -> str:
    """Twelve hex digits that are the same for whoever probes the same thing."""
    return digest_of([str(part) for part in parts])[7:19]


def message_of(pods: Sequence[Mapping[str, Any]], job: str) -> str | None:
    """The termination message of the Job's pod; None while there is none."""
    for pod in pods:
        labels = (pod.get("metadata") or {}).get("labels") or {}
        if job not in (labels.get(JOB_LABEL), labels.get("job-name")):
            continue
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            message = ((status.get("state") or {}).get("terminated") or {}).get("message")
            if message:
                return str(message)
    return None


def numbers_of(message: str) -> dict[str, float]:
    """The numbers a probe says. Raises ValueError with a sentence where it says anything else."""
    if len(message.encode()) > MAX_MESSAGE:
        raise ValueError(f"it says more than {MAX_MESSAGE} bytes")
    try:
        found = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ValueError("what it says is no JSON") from error
    if not isinstance(found, dict) or not found:
        raise ValueError("it says no JSON object of numbers")
    for name, value in found.items():
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not usable or not _RESULT.match(name):
            raise ValueError(f"{name[:63]!r} is no name of a number")
    return {name: float(value) for name, value in found.items()}


class Probed(Wire):
    """What came of a probe in one tenant: `numbers`, or `error` in a sentence."""

    numbers: dict[str, float] = Field(default_factory=dict)
    error: str = ""
