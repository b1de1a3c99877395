"""The onboarding body: what is accepted to the letter, and what is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.tenants import PHASE_TRANSITIONS, TenantPhase, TenantSpec
from controlplane.domain.wire import field_errors


def body(**changes: Any) -> dict[str, Any]:
    """The example of the API's documentation, with changes."""
    return {
        "name": "acme-fr",
        "displayName": "ACME France",
        "tier": "standard",
        "region": "francecentral",
        "timeZone": "Europe/Paris",
        "labels": {"brand": "acme", "country": "fr"},
        "exposure": {"ordersPerHour": 420, "valuePerOrder": {"amount": "61.50", "currency": "EUR"}},
        "environments": {
            "production": {"cluster": "aks-frc-1", "hosts": ["shop.acme.example"]},
            "staging": {"cluster": "aks-frc-np"},
        },
        "apps": {"odoo": {"channel": "stable", "values": {"web": {"workers": 4}}, "pin": None}},
        "adopt": "never",
        **changes,
    }


def places(**changes: Any) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        TenantSpec.model_validate(body(**changes))
    return [error.pointer for error in field_errors(refused.value)]


def test_the_documented_body_is_accepted_and_comes_back_as_it_was() -> None:
    spec = TenantSpec.model_validate(body())
    written = spec.model_dump(mode="json")
    assert {k: written[k] for k in ("name", "labels", "exposure", "apps", "adopt")} == {
        k: body()[k] for k in ("name", "labels", "exposure", "apps", "adopt")
    }
    assert list(spec.environments.present()) == ["production", "staging"]


def test_an_unknown_field_is_refused_with_its_place() -> None:
    assert places(colour="red") == ["/colour"]


@pytest.mark.parametrize("name", ["Acme", "acme_fr", "-acme", "acme-", "", "a" * 64, "acme.fr", "a b"])
def test_a_name_that_is_not_dns_1123_is_refused(name: str) -> None:
    assert places(name=name) == ["/name"]


@pytest.mark.parametrize("name", ["acme--staging", "kube-system", "default", "seawall-system", "a" * 55])
def test_a_name_that_would_meet_another_namespace_is_refused(name: str) -> None:
    assert places(name=name) == ["/name"]


def test_a_wrong_type_is_refused_with_its_place() -> None:
    assert places(labels=["brand"]) == ["/labels"]
    assert places(exposure={"ordersPerHour": "many"})[0].startswith("/exposure/ordersPerHour")


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../../etc/passwd", "", "Europe/"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    assert places(timeZone=zone) == ["/timeZone"]


def test_a_label_under_our_own_domain_is_refused() -> None:
    assert places(labels={"seawall.dev/managed": "true"}) == ["/labels/seawall.dev~1managed/[key]"]


def test_a_tenant_without_production_is_refused() -> None:
    assert places(environments={"staging": {"cluster": "a"}}) == ["/environments/production"]


def test_a_host_named_twice_is_refused() -> None:
    spec = {"production": {"cluster": "a", "hosts": ["x.example"]}, "staging": {"cluster": "a", "hosts": ["x.example"]}}
    assert places(environments=spec) == [""]


def test_a_pin_without_an_end_is_refused() -> None:
    pin = {"version": "17.0.3", "reason": "audit", "owner": "mia"}
    assert places(apps={"odoo": {"pin": pin}}) == ["/apps/odoo/pin/until"]


def test_values_nested_too_deep_or_with_a_nul_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"a": deep}
    assert places(apps={"odoo": {"values": deep}}) == ["/apps/odoo/values"]
    assert places(apps={"odoo": {"values": {"a": "x\x00y"}}}) == ["/apps/odoo/values"]


def test_every_phase_but_the_last_leads_on_and_offboarding_is_open_to_all() -> None:
    assert [phase for phase, after in PHASE_TRANSITIONS.items() if not after] == [TenantPhase.OFFBOARDED]
    living = set(TenantPhase) - {TenantPhase.OFFBOARDING, TenantPhase.OFFBOARDED}
    assert all(TenantPhase.OFFBOARDING in PHASE_TRANSITIONS[phase] for phase in living)
