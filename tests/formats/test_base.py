"""Whatever a chart renders, the answer is content or a refusal with a code; never a crash, never an unjudged object."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.errors import InvalidError
from controlplane.domain.manifests import Rendered, job_for_step, mark
from controlplane.domain.quota import peak_resources
from controlplane.domain.walls import WallRules, check_walls
from controlplane.formats.base import RenderInputs, build
from tests.support.charts import IMAGE

POD = {
    "metadata": {"labels": {"app": "x"}, "annotations": {}},
    "spec": {
        "serviceAccountName": "app",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "initContainers": [{"name": "i", "image": IMAGE, "resources": {"requests": {"cpu": "1"}}}],
        "containers": [
            {
                "name": "c",
                "image": IMAGE,
                "env": [{"name": "A", "value": "b"}],
                "ports": [{"containerPort": 80}],
                "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
                "securityContext": {"capabilities": {"drop": ["ALL"]}},
            }
        ],
        "overhead": {"cpu": "1m"},
    },
}


def named(api: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "x", "labels": {}, "annotations": {}}} | more


OBJECTS = [
    named(
        "apps/v1",
        "Deployment",
        spec={"replicas": 2, "strategy": {"rollingUpdate": {"maxSurge": "25%"}}, "template": POD},
    ),
    named("apps/v1", "StatefulSet", spec={"template": POD, "volumeClaimTemplates": [{"spec": {"resources": {}}}]}),
    named("batch/v1", "CronJob", spec={"jobTemplate": {"spec": {"template": POD}}}),
    named("batch/v1", "Job", spec={"parallelism": 1, "template": POD}),
    named("v1", "Service", spec={"type": "ClusterIP", "ports": []}),
    named("v1", "PersistentVolumeClaim", spec={"resources": {"requests": {"storage": "1Gi"}}}),
    named("v1", "Secret", data={}),
    named("networking.k8s.io/v1", "Ingress", spec={"rules": [{"host": "a"}]}),
    named(
        "autoscaling/v2", "HorizontalPodAutoscaler", spec={"scaleTargetRef": {"kind": "Deployment"}, "maxReplicas": 3}
    ),
    named("rbac.authorization.k8s.io/v1", "Role", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]),
    named(
        "rbac.authorization.k8s.io/v1", "RoleBinding", roleRef={"kind": "Role"}, subjects=[{"kind": "ServiceAccount"}]
    ),
    named("v1", "List", items=[named("v1", "ConfigMap")]),
]
OBJECTS[3]["metadata"]["annotations"] = {"helm.sh/hook": "pre-upgrade", "helm.sh/hook-weight": "1"}

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.lists(st.integers(), max_size=2),
    st.lists(st.none(), max_size=1),
    st.dictionaries(st.sampled_from(["name", "kind", "x"]), st.integers(), max_size=2),
)
INPUTS = RenderInputs("demo", "acme-fr", allowed_custom=frozenset({"/List"}), hosts=frozenset({"a"}))


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, child in inner for path in [(*at, key), *places(child, (*at, key))]]


@st.composite
def spoiled(draw: st.DrawFn) -> dict[str, Any]:
    """An ordinary object with junk in one place, or two."""
    item: dict[str, Any] = deepcopy(draw(st.sampled_from(OBJECTS)))
    for _ in range(draw(st.integers(0, 2))):
        found = places(item)
        if not found:
            break
        *parents, last = draw(st.sampled_from(found))
        node: Any = item
        for part in parents:
            node = node[part]
        node[last] = draw(junk)
    return item


def outcome(items: list[dict[str, Any]]) -> tuple[Rendered | None, InvalidError | None]:
    try:
        return build([{"source": "templates/x.yaml", "object": item} for item in items], INPUTS), None
    except InvalidError as error:
        return None, error


@settings(max_examples=300)
@given(st.lists(spoiled(), min_size=1, max_size=3))
def test_whatever_is_rendered_ends_as_content_or_as_a_refusal_with_a_code(items: list[dict[str, Any]]) -> None:
    rendered, refusal = outcome(items)
    if rendered is None:
        assert refusal is not None
        assert refusal.code != "invalid"
        assert refusal.detail.endswith(".")
        return
    assert check_walls(rendered, WallRules("acme-fr", INPUTS.allowed_custom, INPUTS.hosts)) == []
    assert all(amount > 0 for amount in peak_resources(rendered, previous=rendered).values())
    assert len(mark(rendered.objects, "acme", "production", "demo")) == len(rendered.objects)
    for job in rendered.jobs:
        assert job_for_step(job, "0199c2aa-0000-7000-8000-000000000001")["spec"]["backoffLimit"] == 0
