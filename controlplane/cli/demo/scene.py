"""Who is on the stage: tiers, a strategy, a trigger, 24 retail tenants, three releases. Data only."""

from __future__ import annotations

import hashlib
from typing import Any

from controlplane.cli.apply import Document

APP = "odoo"
FIRST, GOOD, BAD = "17.0.3", "17.0.4", "17.0.5"
SOURCE = "github-acme"
TRIGGER = "odoo-stable"
STRATEGY = "careful"
WAVES = ("pilot", "grow-1", "grow-2", "rest")
BROKEN = frozenset({"lumo-be", "nova-de", "riva-dk"})
"""They still load a module that the bad release no longer ships; nobody else does."""
LEGACY = "--load=base,web,legacy_pos"
"""How a tenant's values ask for that module."""

_ROWS = """
acme-fr      enterprise  francecentral  pilot  2400
acme-de      standard    westeurope     -       620
acme-es      standard    westeurope     -       540
acme-it      standard    westeurope     -       480
brio-it      starter     westeurope     -        85
brio-fr      starter     francecentral  -        60
brio-es      starter     westeurope     -        70
lumo-fr      standard    francecentral  -       210
lumo-be      standard    francecentral  -       190
lumo-nl      standard    westeurope     -       230
nova-de      enterprise  westeurope     -       900
nova-at      standard    westeurope     -       240
nova-ch      standard    westeurope     -       260
opal-fr      starter     francecentral  -        40
opal-pt      starter     westeurope     -        35
petra-pl     starter     westeurope     pilot    30
petra-cz     starter     westeurope     -        45
riva-dk      starter     westeurope     -        55
solis-gr     starter     westeurope     -        65
tide-ie      standard    westeurope     -       160
tide-uk      enterprise  westeurope     -      1800
ursa-se      standard    westeurope     -       150
vela-fr      enterprise  francecentral  -      1500
zest-lu      starter     francecentral  -        25
"""


def configuration(deadline: str, cluster: str) -> list[Document]:
    """What a platform team would keep in files: `seawall apply -f` takes the same. `deadline` of a target's progress."""
    return [
        Document("demo", "app", APP, {"description": "Odoo, one per tenant", "format": "helm"}),
        *(Document("demo", "tier", name, spec) for name, spec in TIERS.items()),
        Document("demo", "cluster", cluster, {"description": "The demo's fleet"}),
        Document("demo", "strategy", STRATEGY, strategy(deadline)),
        Document("demo", "trigger", TRIGGER, TRIGGER_SPEC),
    ]


TIERS: dict[str, dict[str, Any]] = {
    "starter": {"quota": {"requests.cpu": "1", "requests.memory": "2Gi", "pods": "10"}},
    "standard": {"quota": {"requests.cpu": "2", "requests.memory": "4Gi", "pods": "20"}},
    "enterprise": {
        "quota": {"requests.cpu": "4", "requests.memory": "8Gi", "pods": "40"},
        "values": {APP: {"web": {"replicas": 2, "workers": 4}}},
    },
}

TRIGGER_SPEC: dict[str, Any] = {
    "source": SOURCE,
    "filter": "event.type == 'release.published' && !event.data.prerelease",
    "release": {"app": APP, "version": "${event.data.tag}"},
    "rollout": {"environment": "production", "strategy": STRATEGY},
    "mode": "start",
}


def strategy(deadline: str) -> dict[str, Any]:
    """Two pilots, then four, then six that resemble the fleet, then everybody else."""
    soak = {"for": "PT1S", "samples": 2}
    growth = {"first": 4, "factor": 1.5, "waves": 2, "stratifyBy": ["region", "tier"]}
    return {
        "waves": [
            {"name": "pilot", "cut": {"selector": "ring=pilot"}, "soak": soak},
            {"name": "grow", "cut": {"growth": growth}, "soak": soak},
            {"name": "rest", "cut": {"percent": "100%"}, "soak": soak},
        ],
        "limits": {"inFlight": ["25%", 8]},
        "success": {"maxFailures": 1, "progressDeadline": deadline},
        "onFailure": {"rollBack": "failed-targets", "then": "halt"},
    }


def tenants(cluster: str) -> list[dict[str, Any]]:
    """The bodies of 24 tenants."""
    return [_tenant(*line.split(), cluster=cluster) for line in _ROWS.split("\n") if line]


def _tenant(name: str, tier: str, region: str, ring: str, orders: str, *, cluster: str) -> dict[str, Any]:
    brand, country = name.split("-")
    host = f"{country}.{brand}.example"
    values: dict[str, Any] = {"ingress": {"hosts": [host]}}
    if name in BROKEN:
        values["web"] = {"args": [LEGACY]}
    return {
        "name": name,
        "displayName": f"{brand.capitalize()} {country.upper()}",
        "tier": tier,
        "region": region,
        "timeZone": "Europe/Paris",
        "labels": {"brand": brand, "country": country, "ring": ring.strip("-") or "main"},
        "exposure": {"ordersPerHour": int(orders), "valuePerOrder": {"amount": "61.50", "currency": "EUR"}},
        "environments": {"production": {"cluster": cluster, "hosts": [host]}},
        "apps": {APP: {"channel": "stable", "values": values}},
    }


def release(version: str) -> dict[str, Any]:
    """The body of a release, besides its source. The image's digest is made up: no kubelet of a demo pulls it."""
    digest = hashlib.sha256(f"{APP}/{version}".encode()).hexdigest()
    return {
        "images": {"web": f"registry.example/odoo@sha256:{digest}"},
        "provenance": {"repository": "github.com/acme/odoo", "commit": digest[:12], "authors": ["mia@acme.example"]},
    }


def published(version: str) -> dict[str, Any]:
    """The CloudEvent by which the build system says that a release is out."""
    return {
        "specversion": "1.0",
        "id": f"demo-{version}",
        "source": SOURCE,
        "type": "release.published",
        "data": {"tag": version, "prerelease": False},
    }
