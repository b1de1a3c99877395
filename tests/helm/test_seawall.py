from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from controlplane.adapters.kubernetes.identities import WORKER
from controlplane.domain.manifests import Manifest
from controlplane.domain.names import EPOCH_ANNOTATION
from controlplane.settings import Settings
from tests.helm.fleet import FILE, fleet_yaml

FOLDER = Path(__file__).parents[2] / "helm" / "seawall"
LINT_VALUES: dict[str, Any] = yaml.safe_load((FOLDER / "ci" / "lint-values.yaml").read_text())
PARTS = ("relay", "serve", "work")


def render(values: dict[str, Any] | None = None, namespace: str = "seawall-system") -> list[Manifest]:
    with helm_python.Chart.load(FOLDER) as chart:
        texts = chart.render(LINT_VALUES | (values or {}), name="seawall", namespace=namespace)
    return [item for text in texts.values() for item in yaml.safe_load_all(text) if item]


def one(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def pod_of(objects: list[Manifest], part: str) -> Manifest:
    spec: Manifest = one(objects, "Deployment", f"seawall-{part}")["spec"]["template"]["spec"]
    return spec


def variables(container: Manifest) -> dict[str, str]:
    """Variable names with their values, or `secret:key`."""
    return {
        v["name"]: v.get("value", "") if "value" in v else f"secret:{v['valueFrom']['secretKeyRef']['key']}"
        for v in container["env"]
    }


def test_helms_linter_finds_nothing_to_warn_of() -> None:
    report = helm_python.lint(FOLDER, LINT_VALUES, strict=True, kube_version="v1.33.0", namespace="seawall-system")
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


def test_each_part_runs_its_command_with_probes_and_a_disruption_budget() -> None:
    objects = render()
    for part in PARTS:
        container = pod_of(objects, part)["containers"][0]
        assert container["command"] == ["seawall"]
        assert container["args"] == [part]
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert one(objects, "PodDisruptionBudget", f"seawall-{part}")["spec"]["maxUnavailable"] == 1


def test_each_part_has_only_the_database_addresses_of_its_role() -> None:
    objects = render()
    found = {
        part: {k: v for k, v in variables(pod_of(objects, part)["containers"][0]).items() if "DATABASE_URL" in k}
        for part in PARTS
    }
    engine = {"SEAWALL_DATABASE_URL_ENGINE": "secret:engine"}
    assert found == {
        "serve": {
            "SEAWALL_DATABASE_URL_PLATFORM": "secret:platform",
            "SEAWALL_DATABASE_URL_TENANT": "secret:tenant",
        },
        "relay": engine,
        "work": engine,
    }
    job = one(objects, "Job", "seawall-migrate")["spec"]["template"]["spec"]["containers"][0]
    assert variables(job)["SEAWALL_DATABASE_URL"] == "secret:owner"
    assert job["args"] == ["migrate"]


def test_each_part_sees_only_its_own_nats_seed() -> None:
    objects = render()
    for part in PARTS:
        (volume,) = [v for v in pod_of(objects, part)["volumes"] if v["name"] == "nats"]
        assert [item["key"] for item in volume["secret"]["items"]] == [part]


def test_secrets_of_sources_and_webhooks_are_mounted_where_they_are_used() -> None:
    objects = render()
    seen = {part: "SEAWALL_SECRETS" in variables(pod_of(objects, part)["containers"][0]) for part in PARTS}
    mounted = {part: any(v["name"] == "secrets" for v in pod_of(objects, part)["volumes"]) for part in PARTS}
    assert seen == mounted == {"relay": True, "serve": True, "work": True}
    named = {
        part: v["secret"]["secretName"]
        for part in PARTS
        for v in pod_of(objects, part)["volumes"]
        if v["name"] == "secrets"
    }
    assert named == {"relay": "seawall-secrets", "serve": "seawall-secrets", "work": "seawall-endpoints"}


def test_metric_sources_are_given_to_workers_and_to_the_api() -> None:
    objects = render()
    told = {part: variables(pod_of(objects, part)["containers"][0]).get("SEAWALL_METRICS_SOURCES") for part in PARTS}
    mounted = {part: any(v["name"] == "metrics" for v in pod_of(objects, part)["volumes"]) for part in PARTS}
    assert told == {"relay": None, **dict.fromkeys(("serve", "work"), "/etc/seawall/metrics/sources.yaml")}
    assert mounted == {"relay": False, "serve": True, "work": True}


def test_the_dashboard_is_a_config_map_that_grafanas_sidecar_finds() -> None:
    assert not [o for o in render() if "grafana" in o["metadata"]["name"]]
    found = one(
        render({"grafanaDashboard": {"enabled": True, "label": "shown"}}), "ConfigMap", "seawall-grafana-dashboard"
    )
    assert found["metadata"]["labels"]["shown"] == "1"
    assert json.loads(found["data"]["seawall.json"]) == json.loads(
        (FOLDER / "files/grafana-dashboard.json").read_text()
    )


def test_a_container_outside_is_written_by_workers_alone_as_their_workload_identity_or_with_a_signature() -> None:
    client, address = "66666666-7777-8888-9999-000000000000", "https://acme.blob.core.windows.net/breakglass"
    objects = render({"outside": {"container": address, "sas": "container-sas"}, "work": {"workloadIdentity": client}})
    told = {part: variables(pod_of(objects, part)["containers"][0]) for part in PARTS}
    assert {part: found.get("SEAWALL_BREAKGLASS_CONTAINER") for part, found in told.items()} == {
        "relay": None,
        "serve": None,
        "work": address,
    }
    assert told["work"]["SEAWALL_BREAKGLASS_SAS"] == "container-sas"
    account = one(objects, "ServiceAccount", "seawall-worker")["metadata"]
    assert account["annotations"]["azure.workload.identity/client-id"] == client
    use = "azure.workload.identity/use"
    labels = {p: one(objects, "Deployment", f"seawall-{p}")["spec"]["template"]["metadata"]["labels"] for p in PARTS}
    assert {part: found.get(use) for part, found in labels.items()} == {"relay": None, "serve": None, "work": "true"}
    assert not any(v["name"] == "outside" for v in pod_of(objects, "work")["volumes"])


def test_heads_of_the_audit_chain_go_to_a_container_and_the_api_compares_if_it_was_given_a_signature() -> None:
    address = "https://acme.blob.core.windows.net/audit"
    alone = render({"outside": {"anchors": address, "auditRetention": "P400D"}})
    told = {part: variables(pod_of(alone, part)["containers"][0]) for part in PARTS}
    name = "SEAWALL_AUDIT_ANCHORS_CONTAINER"
    assert {part: found.get(name) for part, found in told.items()} == {"relay": None, "serve": None, "work": address}
    assert {part: found.get("SEAWALL_AUDIT_RETENTION") for part, found in told.items()} == {
        "relay": None,
        "serve": None,
        "work": "P400D",
    }
    signed = render({"outside": {"anchors": address, "anchorsSas": "heads"}, "secrets": {"existingSecret": "s"}})
    told = {part: variables(pod_of(signed, part)["containers"][0]) for part in PARTS}
    assert {part: found.get(name) for part, found in told.items()} == {"relay": None, "serve": address, "work": address}
    assert told["serve"]["SEAWALL_AUDIT_ANCHORS_SAS"] == "heads"


def test_what_outlives_the_database_is_written_by_workers_and_read_by_the_api() -> None:
    objects = render({"outside": {"existingClaim": "seawall-outside", "auditRetention": "P400D"}})
    told = {part: variables(pod_of(objects, part)["containers"][0]) for part in PARTS}
    heads = "/var/lib/seawall/outside/audit-heads.ndjson"
    assert {part: found.get("SEAWALL_AUDIT_ANCHORS") for part, found in told.items()} == {
        "relay": None,
        "serve": heads,
        "work": heads,
    }
    assert told["work"]["SEAWALL_AUDIT_RETENTION"] == "P400D"
    assert told["work"]["SEAWALL_BREAKGLASS"] == "/var/lib/seawall/outside/breakglass"
    assert "SEAWALL_BREAKGLASS" not in told["serve"]
    mounts = {
        part: [m["readOnly"] for m in pod_of(objects, part)["containers"][0]["volumeMounts"] if m["name"] == "outside"]
        for part in PARTS
    }
    assert mounts == {"relay": [], "serve": [True], "work": [False]}
    assert not any(v["name"] == "outside" for v in pod_of(render(), "work")["volumes"])


def test_every_variable_it_sets_is_one_that_the_program_reads() -> None:
    objects = render()
    containers = [pod_of(objects, part)["containers"][0] for part in PARTS]
    containers += one(objects, "Job", "seawall-migrate")["spec"]["template"]["spec"]["containers"]
    named = {name for container in containers for name in variables(container)}
    assert named <= {f"SEAWALL_{field.upper()}" for field in Settings.model_fields}


def test_only_workers_carry_a_token_of_the_cluster() -> None:
    objects = render()
    tokens = {part: pod_of(objects, part)["automountServiceAccountToken"] for part in PARTS}
    assert tokens == {"relay": False, "serve": False, "work": True}
    assert pod_of(objects, "work")["serviceAccountName"] == WORKER.rpartition(":")[2]


def test_every_pod_is_what_pod_security_restricted_asks_for() -> None:
    objects = render()
    pods = [pod_of(objects, part) for part in PARTS]
    for pod in [*pods, one(objects, "Job", "seawall-migrate")["spec"]["template"]["spec"]]:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        context = pod["containers"][0]["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_migration_runs_before_installing_and_upgrading() -> None:
    hooks = one(render(), "Job", "seawall-migrate")["metadata"]["annotations"]["helm.sh/hook"]
    assert hooks == "pre-install,pre-upgrade"


def test_rights_and_policies_are_the_ones_the_code_installs() -> None:
    assert FILE.read_text() == fleet_yaml(), "run: python -m tests.helm.fleet"
    objects = render()
    for wanted in yaml.safe_load_all(fleet_yaml()):
        assert one(objects, wanted["kind"], wanted["metadata"]["name"]) == wanted
    assert one(objects, "ServiceAccount", "seawall-worker")


def test_the_workers_may_impersonate_deployers_with_an_epoch_and_nobody_else() -> None:
    rules = one(render(), "ClusterRole", "seawall-worker")["rules"]
    impersonation = [rule for rule in rules if "impersonate" in rule["verbs"]]
    assert all(rule["verbs"] == ["impersonate"] for rule in impersonation)
    accounts, extras = impersonation
    assert "seawall-deployer" in accounts["resourceNames"]
    assert extras["resources"] == [f"userextras/{EPOCH_ANNOTATION}"]


def test_without_fleet_access_nothing_cluster_wide_is_rendered() -> None:
    kinds = {o["kind"] for o in render({"fleetAccess": {"enabled": False}}, namespace="elsewhere")}
    assert not {"ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "Namespace"} & kinds


def test_in_another_namespace_it_refuses_because_the_policies_name_the_workers() -> None:
    with pytest.raises(helm_python.HelmRenderError, match="seawall-system"):
        render(namespace="default")


def test_the_network_policy_opens_what_is_named_and_nothing_else() -> None:
    objects = render()
    every = one(objects, "NetworkPolicy", "seawall")["spec"]
    assert every["policyTypes"] == ["Ingress", "Egress"]
    assert [r["from"][0]["namespaceSelector"]["matchLabels"] for r in every["ingress"]] == [
        {"kubernetes.io/metadata.name": "monitoring"}
    ]
    closed = render({"networkPolicy": {"apiFrom": [], "metricsFrom": [], "egressCidrs": []}})
    assert one(closed, "NetworkPolicy", "seawall")["spec"]["ingress"] is None
    assert len(one(closed, "NetworkPolicy", "seawall")["spec"]["egress"]) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"image": "seawall:latest"},
        {"image": ""},
        {"nats": {"url": ""}},
        {"nats": {"url": "http://nats"}},
        {"work": {"replicas": -1}},
        {"databaseUrl": "postgresql://user:password@host/db"},
    ],
)
def test_values_that_cannot_work_are_refused_by_the_schema(values: dict[str, Any]) -> None:
    with helm_python.Chart.load(FOLDER) as chart, pytest.raises(helm_python.HelmValuesError):
        chart.validate_schema(LINT_VALUES | values)


def test_the_readme_lists_every_value() -> None:
    readme = (FOLDER / "README.md").read_text()

    def leaves(values: dict[str, Any], prefix: str = "") -> list[str]:
        found: list[str] = []
        for key, value in values.items():
            whole = isinstance(value, dict) and value and key != "resources"
            found += leaves(value, f"{prefix}{key}.") if whole else [prefix + key]
        return found

    values = yaml.safe_load((FOLDER / "values.yaml").read_text())
    assert [name for name in leaves(values) if f"| `{name}` |" not in readme] == []


def test_the_probes_of_workers_and_relay_ask_the_address_they_serve_machines_on() -> None:
    objects = render()
    for part in ("relay", "work"):
        container = pod_of(objects, part)["containers"][0]
        port = next(p["containerPort"] for p in container["ports"] if p["name"] == "http")
        assert variables(container)["SEAWALL_METRICS_LISTEN"] == f"0.0.0.0:{port}"
        assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {"http"}
    assert "SEAWALL_METRICS_LISTEN" not in variables(pod_of(objects, "serve")["containers"][0])
