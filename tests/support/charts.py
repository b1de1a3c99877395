"""Small chart archives and manifests, made in memory."""

from __future__ import annotations

import json
from typing import Any

import yaml

from controlplane.domain.names import digest_of
from controlplane.domain.releases import ReleaseSpec
from controlplane.formats.archive import write_tar

DIGEST = "sha256:" + "1b7e" * 16
IMAGE = f"acme.azurecr.io/odoo@{DIGEST}"

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app.kubernetes.io/managed-by: {{ .Release.Service }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: {{ .Values.images.web }}
          resources:
            requests: {cpu: 100m, memory: 64Mi}
            limits: {cpu: 200m, memory: 128Mi}
"""

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


def chart(
    templates: dict[str, str] | None = None,
    *,
    values: dict[str, Any] | None = None,
    schema: dict[str, Any] | None = None,
    files: dict[str, bytes] | None = None,
    name: str = "demo",
    version: str = "1.0.0",
    base: bool = True,
) -> bytes:
    """A chart archive: a web Deployment and a Service unless `base` is false, plus the given templates and files."""
    metadata = {"apiVersion": "v2", "name": name, "version": version}
    content: dict[str, bytes] = {"Chart.yaml": yaml.safe_dump(metadata).encode(), **(files or {})}
    defaults = {"replicas": 1, "images": {"web": IMAGE}} | (values or {})
    content["values.yaml"] = yaml.safe_dump(defaults).encode()
    if schema is not None:
        content["values.schema.json"] = json.dumps(schema).encode()
    sources = ({"web.yaml": DEPLOYMENT, "service.yaml": SERVICE} if base else {}) | (templates or {})
    content |= {f"templates/{path}": text.encode() for path, text in sources.items()}
    return write_tar({f"{name}/{path}": body for path, body in content.items()})


def manifests(*objects: dict[str, Any]) -> bytes:
    """A YAML stream of the given objects."""
    return yaml.safe_dump_all(objects).encode()


def job(name: str = "migrate", **annotations: str) -> str:
    """The text of a Job; annotation names are given with `__` for `/`, `_` for `-`, under `helm.sh`."""
    marks = {f"helm.sh/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return yaml.safe_dump(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "annotations": marks},
            "spec": {
                "ttlSecondsAfterFinished": 60,
                "template": {
                    "spec": {
                        "restartPolicy": "OnFailure",
                        "containers": [
                            {
                                "name": "migrate",
                                "image": IMAGE,
                                "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
                            }
                        ],
                    }
                },
            },
        }
    )


def release(artifact: bytes, *, fmt: str = "helm", version: str = "1.0.0", **changes: Any) -> ReleaseSpec:
    """A release of app `demo` with that artifact and one pinned image."""
    body = {
        "app": "demo",
        "version": version,
        "source": {"format": fmt, "artifact": digest_of(artifact)},
        "images": {"web": IMAGE},
    }
    return ReleaseSpec.model_validate(body | changes)
