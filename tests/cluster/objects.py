"""Small objects for tests on the API server."""

from __future__ import annotations

import itertools
import uuid

from tests.cluster.kube import Json

_RUN = uuid.uuid4().hex[:6]
_NUMBERS = itertools.count(1)


def fresh_name(word: str) -> str:
    """A name that no other test of any run on the same cluster has."""
    return f"{word}-{_RUN}-{next(_NUMBERS)}"


def namespace(name: str, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None) -> Json:
    metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def config_map(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "value"}}


def pod_template(app: str, image: str, annotations: dict[str, str] | None = None) -> Json:
    return {
        "metadata": {"labels": {"app": app}, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }


def deployment(name: str, image: str, annotations: dict[str, str] | None = None, replicas: int = 1) -> Json:
    """A Deployment that never goes below its replicas: maxSurge 1, maxUnavailable 0."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": pod_template(name, image, annotations),
        },
    }


def job(name: str, annotations: dict[str, str] | None = None) -> Json:
    template = pod_template(name, "registry.example/migrate:1", annotations)
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }
