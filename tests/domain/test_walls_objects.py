"""The walls as objects: what the deployer may not do, and what a tier and a cluster open."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from controlplane.domain.manifests import Manifest, key_of
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.walls_objects import (
    Place,
    deployer_rules,
    namespace_annotations,
    namespace_labels,
    wall_objects,
    walls_hash,
)

PLACE = Place("acme-fr", "staging", "acme-fr--staging")


def by_key(tier: TierSpec | None = None, cluster: ClusterSpec | None = None) -> dict[str, Manifest]:
    return {str(key_of(o)): o for o in wall_objects(PLACE, tier or TierSpec(), cluster or ClusterSpec())}


def test_every_wall_object_lies_in_the_namespace_and_carries_the_marks() -> None:
    for item in by_key().values():
        assert item["metadata"]["namespace"] == "acme-fr--staging"
        assert item["metadata"]["labels"]["seawall.dev/managed"] == "true"
        assert item["metadata"]["labels"]["seawall.dev/tenant"] == "acme-fr"


def test_the_namespace_is_born_fenced_sealed_and_under_pod_security_restricted() -> None:
    labels = namespace_labels(PLACE)
    assert {labels[f"pod-security.kubernetes.io/{m}"] for m in ("enforce", "audit", "warn")} == {"restricted"}
    assert labels["seawall.dev/fenced"] == "true"
    assert namespace_annotations("inst", "op", 7)["seawall.dev/epoch"] == "7"


def test_the_deployer_has_no_right_on_quota_policy_or_our_domain_and_no_wildcard() -> None:
    rules = deployer_rules()
    resources = {r for rule in rules for r in rule["resources"]}
    assert not resources & {"resourcequotas", "limitranges", "networkpolicies", "namespaces", "serviceaccounts/token"}
    verbs = {v for rule in rules for v in rule["verbs"]}
    assert not verbs & {"*", "escalate", "bind", "impersonate", "deletecollection"}
    assert "*" not in resources
    assert not any("seawall.dev" in g or g == "*" for rule in rules for g in rule["apiGroups"])


def test_everything_is_denied_first_and_the_ingress_controller_is_opened_by_name() -> None:
    found = by_key(cluster=ClusterSpec(ingress_namespaces=("edge",)))
    deny = found["NetworkPolicy/seawall-default-deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    sources = found["NetworkPolicy/seawall-ingress"]["spec"]["ingress"][0]["from"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge"}}} in sources
    assert {"namespaceSelector": {}} not in sources


def test_a_network_is_reachable_only_when_tier_or_cluster_name_it() -> None:
    def blocks(found: dict[str, Manifest]) -> list[str]:
        rules = found["NetworkPolicy/seawall-egress"]["spec"]["egress"]
        return [to["ipBlock"]["cidr"] for rule in rules for to in rule["to"] if "ipBlock" in to]

    assert blocks(by_key()) == []
    assert blocks(by_key(TierSpec(egress=("10.1.0.0/16",)), ClusterSpec(egress=("10.2.0.0/16",)))) == [
        "10.1.0.0/16",
        "10.2.0.0/16",
    ]


def test_node_ports_and_load_balancers_are_closed_unless_the_tier_opens_them() -> None:
    hard = by_key()["ResourceQuota/seawall"]["spec"]["hard"]
    assert hard["services.nodeports"] == hard["services.loadbalancers"] == "0"
    opened = TierSpec(quota={"requests.cpu": "1", "services.loadbalancers": "1"})
    assert by_key(opened)["ResourceQuota/seawall"]["spec"]["hard"]["services.loadbalancers"] == "1"


def test_another_tier_gives_another_hash_and_the_same_tier_the_same() -> None:
    def hashed(tier: TierSpec) -> str:
        return walls_hash(wall_objects(PLACE, tier, ClusterSpec()), namespace_labels(PLACE))

    assert hashed(TierSpec()) == hashed(TierSpec())
    assert hashed(TierSpec()) != hashed(TierSpec(quota={"pods": "3"}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"quota": {"requests.cpu": "-1"}},
        {"quota": {"requests.cpu": True}},
        {"quota": {"colour": "1"}},
        {"quota": {}},
        {"egress": ["10.0.0.1/8"]},
        {"limits": {"default": {"cpu": "10m", "memory": "1Gi"}, "defaultRequest": {"cpu": "20m", "memory": "1Gi"}}},
        {"selfService": {"rollbacksPerDay": -1}},
    ],
)
def test_a_tier_that_no_pod_could_live_in_or_no_quota_could_say_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TierSpec.model_validate(wrong)
